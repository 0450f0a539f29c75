// Raw deflate (RFC 1951), decoded into a buffer of known size. Plain C++17: no exceptions, no library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ani3d
{
/** True where `input` is one whole deflate stream of exactly `outputBytes` bytes. Nothing outside both is touched. */
bool Inflate(const uint8_t* input, size_t inputBytes, uint8_t* output, size_t outputBytes);

/** The zip's checksum. */
uint32_t Crc32(const uint8_t* bytes, size_t count);
}
