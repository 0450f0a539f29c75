// A small strict JSON reader: no repeated keys, no depth beyond 32, nothing after the value.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace ani3d
{
struct Json
{
    enum class Kind { Null, Bool, Number, Text, List, Object };

    Kind kind = Kind::Null;
    double number = 0;
    std::string text;
    std::vector<Json> list;
    std::map<std::string, Json> object;

    /** A member, or null (a value of kind Null) where there is none. */
    const Json& At(const std::string& key) const;

    /** False where `source` is not one JSON value; `value` is then of no use. Texts keep their UTF-8. */
    static bool Parse(const std::string& source, Json& value);
};
}
