#include "Ani3DJson.h"

#include <clocale>
#include <cmath>
#include <cstdlib>
#include <cstdint>
#include <cstring>

namespace ani3d
{
namespace
{
class Reader
{
public:
    explicit Reader(const std::string& source) : text(source) {}

    bool Whole(Json& value)
    {
        if (!Value(value, 0)) return false;
        Space();
        return at == text.size();
    }

private:
    static constexpr int MaxDepth = 32;
    const std::string& text;
    size_t at = 0;

    bool Value(Json& value, int depth)
    {
        Space();
        if (depth > MaxDepth || at == text.size()) return false;
        switch (text[at])
        {
        case '{': return Object(value, depth);
        case '[': return List(value, depth);
        case '"': value.kind = Json::Kind::Text; return Text(value.text);
        case 't': value.kind = Json::Kind::Bool; value.number = 1; return Word("true");
        case 'f': value.kind = Json::Kind::Bool; return Word("false");
        case 'n': return Word("null");
        default: value.kind = Json::Kind::Number; return Number(value.number);
        }
    }

    bool Object(Json& value, int depth)
    {
        value.kind = Json::Kind::Object;
        at++;
        Space();
        if (Take('}')) return true;
        do
        {
            Space();
            std::string key;
            if (at == text.size() || text[at] != '"' || !Text(key)) return false;
            Space();
            if (!Take(':') || value.object.count(key) != 0 || !Value(value.object[key], depth + 1)) return false;
            Space();
        } while (Take(','));
        return Take('}');
    }

    bool List(Json& value, int depth)
    {
        value.kind = Json::Kind::List;
        at++;
        Space();
        if (Take(']')) return true;
        do
        {
            value.list.emplace_back();
            if (!Value(value.list.back(), depth + 1)) return false;
            Space();
        } while (Take(','));
        return Take(']');
    }

    bool Text(std::string& value)
    {
        at++;
        while (at < text.size() && text[at] != '"')
        {
            const char letter = text[at++];
            if (static_cast<unsigned char>(letter) < ' ') return false;
            if (letter != '\\') value += letter;
            else if (!Escape(value)) return false;
        }
        return Take('"');
    }

    bool Escape(std::string& value)
    {
        if (at == text.size()) return false;
        const char letter = text[at++];
        static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
        const char* simple = std::strchr(names, letter);
        if (simple != nullptr && letter != '\0')
        {
            value += meanings[simple - names];
            return true;
        }
        uint32_t code = 0, low = 0;
        if (letter != 'u' || !Hex(code)) return false;
        if (code >= 0xd800 && code < 0xdc00)
        {
            // A character beyond 16 bits, as two escapes.
            if (!Take('\\') || !Take('u') || !Hex(low) || low < 0xdc00 || low > 0xdfff) return false;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        Utf8(code, value);
        return true;
    }

    bool Hex(uint32_t& code)
    {
        if (text.size() - at < 4) return false;
        for (int i = 0; i < 4; i++)
        {
            const char letter = text[at++];
            const bool digit = letter >= '0' && letter <= '9';
            const char lower = static_cast<char>(letter | 0x20);
            if (!digit && (lower < 'a' || lower > 'f')) return false;
            code = code * 16 + static_cast<uint32_t>(digit ? letter - '0' : lower - 'a' + 10);
        }
        return true;
    }

    static void Utf8(uint32_t code, std::string& value)
    {
        if (code < 0x80)
        {
            value += static_cast<char>(code);
            return;
        }
        const int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        static const uint32_t heads[] = {0, 0xc0, 0xe0, 0xf0};
        value += static_cast<char>(heads[extra] | code >> (6 * extra));
        for (int i = extra - 1; i >= 0; i--) value += static_cast<char>(0x80 | (code >> (6 * i) & 63));
    }

    bool Word(const char* word)
    {
        const size_t length = std::strlen(word);
        if (text.compare(at, length, word) != 0) return false;
        at += length;
        return true;
    }

    bool Number(double& value)
    {
        const size_t start = at;
        while (at < text.size() && std::strchr("+-.0123456789eE", text[at]) != nullptr && text[at] != '\0') at++;
        std::string number = text.substr(start, at - start);
        // strtod reads the decimal point of the process's language.
        for (char& letter : number)
            if (letter == '.') letter = *std::localeconv()->decimal_point;
        char* end = nullptr;
        value = std::strtod(number.c_str(), &end);
        return !number.empty() && *end == '\0' && std::isfinite(value);
    }

    bool Take(char letter)
    {
        if (at == text.size() || text[at] != letter) return false;
        at++;
        return true;
    }

    void Space()
    {
        while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) at++;
    }
};
}

const Json& Json::At(const std::string& key) const
{
    static const Json none;
    const auto found = object.find(key);
    return found == object.end() ? none : found->second;
}

bool Json::Parse(const std::string& source, Json& value)
{
    return Reader(source).Whole(value);
}
}
