// The strict zip of a bundle: entries fill the file, nothing else is in it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ani3d
{
using Contents = std::map<std::string, std::vector<uint8_t>>;

/** All entries by name. False: `error` says why. */
bool ReadArchive(const uint8_t* file, size_t bytes, const std::string& source, Contents& contents, std::string& error);
}
