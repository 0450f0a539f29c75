#include "Ani3DInflate.h"

#include <cstring>

namespace ani3d
{
namespace
{
constexpr int MaxBits = 15;
constexpr int LiteralCodes = 288;
constexpr int DistanceCodes = 30;

/** A canonical Huffman code: how many codes of each length, and the symbols in their order. */
struct Huffman
{
    uint16_t count[MaxBits + 1];
    uint16_t symbol[LiteralCodes];

    /** False where the lengths are no code. An incomplete code is one only with a single symbol of one bit. */
    bool Build(const uint8_t* lengths, int symbols)
    {
        std::memset(count, 0, sizeof count);
        for (int i = 0; i < symbols; i++) count[lengths[i]]++;
        int left = 1, used = symbols - count[0];
        for (int bits = 1; bits <= MaxBits; bits++)
        {
            left = 2 * left - count[bits];
            if (left < 0) return false;
        }
        uint16_t start[MaxBits + 2] = {};
        for (int bits = 1; bits <= MaxBits; bits++) start[bits + 1] = static_cast<uint16_t>(start[bits] + count[bits]);
        for (int i = 0; i < symbols; i++)
            if (lengths[i] != 0) symbol[start[lengths[i]]++] = static_cast<uint16_t>(i);
        return left == 0 || (used == 1 && count[1] == 1) || used == 0;
    }
};

class Stream
{
public:
    Stream(const uint8_t* source, size_t sourceBytes, uint8_t* target, size_t targetBytes)
        : input(source), inputEnd(source + sourceBytes), output(target), outputStart(target),
          outputEnd(target + targetBytes)
    {
    }

    bool Run()
    {
        bool last = false;
        while (!last)
        {
            last = Bits(1) != 0;
            const uint32_t kind = Bits(2);
            const bool done = kind == 0 ? Stored() : kind == 1 ? Fixed() : kind == 2 ? Dynamic() : false;
            if (!done || failed) return false;
        }
        return input == inputEnd && output == outputEnd;
    }

private:
    const uint8_t* input;
    const uint8_t* inputEnd;
    uint8_t* output;
    uint8_t* outputStart;
    uint8_t* outputEnd;
    uint32_t buffer = 0;
    int buffered = 0;
    bool failed = false;

    /** The next bits, lowest first; 0 and `failed` beyond the end. */
    uint32_t Bits(int need)
    {
        while (buffered < need)
        {
            if (input == inputEnd)
            {
                failed = true;
                return 0;
            }
            buffer |= static_cast<uint32_t>(*input++) << buffered;
            buffered += 8;
        }
        const uint32_t value = buffer & ((1u << need) - 1);
        buffer >>= need;
        buffered -= need;
        return value;
    }

    /** The next symbol, or -1. */
    int Decode(const Huffman& code)
    {
        int value = 0, first = 0, index = 0;
        for (int bits = 1; bits <= MaxBits; bits++)
        {
            value |= static_cast<int>(Bits(1));
            if (failed) return -1;
            const int count = code.count[bits];
            if (value - count < first) return code.symbol[index + (value - first)];
            index += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        return -1;
    }

    bool Stored()
    {
        buffer = 0;
        buffered = 0;
        if (inputEnd - input < 4) return false;
        const size_t length = input[0] | static_cast<size_t>(input[1]) << 8;
        const size_t complement = input[2] | static_cast<size_t>(input[3]) << 8;
        input += 4;
        if (length != (complement ^ 0xffff) || static_cast<size_t>(inputEnd - input) < length ||
            static_cast<size_t>(outputEnd - output) < length)
            return false;
        if (length > 0) std::memcpy(output, input, length);
        input += length;
        output += length;
        return true;
    }

    bool Fixed()
    {
        uint8_t lengths[LiteralCodes], fives[DistanceCodes];
        for (int i = 0; i < LiteralCodes; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        std::memset(fives, 5, sizeof fives);
        Huffman literals, distances;
        literals.Build(lengths, LiteralCodes);
        // 30 codes of 5 bits are incomplete: the two missing ones are refused when met.
        distances.Build(fives, DistanceCodes);
        return Codes(literals, distances);
    }

    bool Dynamic()
    {
        static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
        const int literalCount = static_cast<int>(Bits(5)) + 257, distanceCount = static_cast<int>(Bits(5)) + 1;
        const int lengthCount = static_cast<int>(Bits(4)) + 4;
        if (failed || literalCount > 286 || distanceCount > DistanceCodes) return false;
        uint8_t lengths[LiteralCodes + DistanceCodes] = {};
        for (int i = 0; i < lengthCount; i++) lengths[order[i]] = static_cast<uint8_t>(Bits(3));
        Huffman code;
        if (failed || !code.Build(lengths, 19)) return false;
        std::memset(lengths, 0, sizeof lengths);
        for (int at = 0; at < literalCount + distanceCount;)
        {
            const int symbol = Decode(code);
            if (symbol < 0) return false;
            if (symbol < 16)
            {
                lengths[at++] = static_cast<uint8_t>(symbol);
                continue;
            }
            if (symbol == 16 && at == 0) return false;
            const uint8_t repeated = symbol == 16 ? lengths[at - 1] : uint8_t(0);
            int times = symbol == 16 ? 3 + static_cast<int>(Bits(2))
                : symbol == 17 ? 3 + static_cast<int>(Bits(3)) : 11 + static_cast<int>(Bits(7));
            if (failed || at + times > literalCount + distanceCount) return false;
            while (times-- > 0) lengths[at++] = repeated;
        }
        Huffman literals, distances;
        if (lengths[256] == 0 || !literals.Build(lengths, literalCount) ||
            !distances.Build(lengths + literalCount, distanceCount))
            return false;
        return Codes(literals, distances);
    }

    bool Codes(const Huffman& literals, const Huffman& distances)
    {
        static const uint16_t lengthBase[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51,
            59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
        static const uint8_t lengthBits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4,
            5, 5, 5, 5, 0};
        static const uint16_t distanceBase[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385,
            513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
        static const uint8_t distanceBits[30] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10,
            10, 11, 11, 12, 12, 13, 13};
        for (;;)
        {
            const int symbol = Decode(literals);
            if (symbol < 0 || symbol > 285) return false;
            if (symbol == 256) return true;
            if (symbol < 256)
            {
                if (output == outputEnd) return false;
                *output++ = static_cast<uint8_t>(symbol);
                continue;
            }
            size_t length = lengthBase[symbol - 257] + Bits(lengthBits[symbol - 257]);
            const int code = Decode(distances);
            if (code < 0 || code >= DistanceCodes) return false;
            const size_t distance = distanceBase[code] + Bits(distanceBits[code]);
            if (failed || distance > static_cast<size_t>(output - outputStart) ||
                length > static_cast<size_t>(outputEnd - output))
                return false;
            // Byte by byte: the two may overlap.
            for (const uint8_t* from = output - distance; length > 0; length--) *output++ = *from++;
        }
    }
};
}

bool Inflate(const uint8_t* input, size_t inputBytes, uint8_t* output, size_t outputBytes)
{
    return Stream(input, inputBytes, output, outputBytes).Run();
}

uint32_t Crc32(const uint8_t* bytes, size_t count)
{
    static const struct Table
    {
        uint32_t value[256];
        Table()
        {
            for (uint32_t n = 0; n < 256; n++)
            {
                uint32_t rest = n;
                for (int bit = 0; bit < 8; bit++) rest = (rest & 1) ? 0xedb88320u ^ (rest >> 1) : rest >> 1;
                value[n] = rest;
            }
        }
    } table;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) crc = table.value[(crc ^ bytes[i]) & 255] ^ (crc >> 8);
    return crc ^ 0xffffffffu;
}
}
