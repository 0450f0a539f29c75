#include "Ani3DArchive.h"

#include <algorithm>

#include "Ani3DBundle.h"
#include "Ani3DInflate.h"

namespace ani3d
{
namespace
{
constexpr uint64_t LocalBytes = 30, EntryBytes = 46, EndBytes = 22;

struct Entry
{
    std::string name;
    bool deflated = false;
    uint32_t crc = 0;
    uint64_t stored = 0, size = 0, offset = 0, data = 0;
};

uint32_t U16(const uint8_t* at) { return at[0] | static_cast<uint32_t>(at[1]) << 8; }

uint32_t U32(const uint8_t* at) { return U16(at) | U16(at + 2) << 16; }

bool NamePart(const std::string& part, size_t longest, bool underscore)
{
    if (part.empty() || part.size() > longest) return false;
    return std::all_of(part.begin(), part.end(), [underscore](char letter) {
        return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || (underscore && letter == '_');
    });
}

/** [a-z0-9_]{1,40}(/[a-z0-9_]{1,40}){0,3}\.[a-z0-9]{1,8} */
bool NameAllowed(const std::string& name)
{
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos || !NamePart(name.substr(dot + 1), 8, false)) return false;
    size_t start = 0;
    for (int folder = 0; folder < 4; folder++)
    {
        const size_t slash = std::min(name.find('/', start), dot);
        if (!NamePart(name.substr(start, slash - start), 40, true)) return false;
        if (slash == dot) return true;
        start = slash + 1;
    }
    return false;
}

bool ReadEntry(const uint8_t* file, uint64_t at, uint64_t end, Entry& entry)
{
    if (at + EntryBytes > end || U32(file + at) != 0x02014b50) return false;
    const uint64_t nameBytes = U16(file + at + 28);
    if (nameBytes > end - at - EntryBytes) return false;
    const char* name = reinterpret_cast<const char*>(file + at + EntryBytes);
    entry.name.assign(name, static_cast<size_t>(nameBytes));
    const uint32_t method = U16(file + at + 10);
    entry.deflated = method == 8;
    entry.crc = U32(file + at + 16);
    entry.stored = U32(file + at + 20);
    entry.size = U32(file + at + 24);
    entry.offset = U32(file + at + 42);
    const uint32_t flags = U16(file + at + 8) | U16(file + at + 30) | U16(file + at + 32);
    return NameAllowed(entry.name) && flags == 0 && (method == 0 || method == 8) && entry.size <= MaxEntryBytes;
}

bool ReadDirectory(const uint8_t* file, uint64_t bytes, std::vector<Entry>& entries, std::string& why)
{
    if (bytes < EndBytes || U32(file) != 0x04034b50)
    {
        why = "is not an ani3d bundle (a zip); give a file made by ani3d bake";
        return false;
    }
    const uint64_t end = bytes - EndBytes;
    if (U32(file + end) != 0x06054b50 || U16(file + end + 20) != 0)
    {
        why = "is cut off, or has bytes after its end; copy it again";
        return false;
    }
    const uint64_t count = U16(file + end + 10), start = U32(file + end + 16);
    why = "has bytes that belong to no entry, or entries that a bundle may not have; copy it again";
    if (count > MaxEntries || start + U32(file + end + 12) != end) return false;
    uint64_t at = start, position = 0, total = 0;
    for (uint64_t i = 0; i < count; i++)
    {
        Entry entry;
        if (!ReadEntry(file, at, end, entry) || entry.offset != position) return false;
        for (const Entry& other : entries)
            if (other.name == entry.name) return false;
        entry.data = position + LocalBytes + entry.name.size();
        position = entry.data + entry.stored;
        at += EntryBytes + entry.name.size();
        total += entry.size;
        entries.push_back(entry);
    }
    if (position != start || at != end) return false;
    if (total > std::min(MaxTotalBytes, FreeBytes + MaxRatio * bytes))
    {
        why = "would inflate to " + std::to_string(total) + " bytes; refused";
        return false;
    }
    return true;
}
}

bool ReadArchive(const uint8_t* file, size_t bytes, const std::string& source, Contents& contents, std::string& error)
{
    std::vector<Entry> entries;
    std::string why;
    if (!ReadDirectory(file, bytes, entries, why))
    {
        error = source + ": " + why;
        return false;
    }
    for (const Entry& entry : entries)
    {
        std::vector<uint8_t>& content = contents[entry.name];
        content.resize(static_cast<size_t>(entry.size));
        const uint8_t* stored = file + entry.data;
        bool sound = entry.deflated || entry.stored == entry.size;
        if (sound && entry.deflated)
            sound = Inflate(stored, static_cast<size_t>(entry.stored), content.data(), content.size());
        else if (sound) std::copy(stored, stored + entry.stored, content.begin());
        if (!sound || Crc32(content.data(), content.size()) != entry.crc)
        {
            error = source + "/" + entry.name + ": is damaged; copy the file again";
            return false;
        }
    }
    return true;
}
}
