// SHA-256 (FIPS 180-4) and HMAC with it (RFC 2104), for davit and its init alike: sandbox/init.cpp has no C++ library,
// and no other one. For short messages: the key and the message of an HMAC fit one buffer.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace davit::init {

inline constexpr size_t digest_bytes = 32;

class sha256 {
public:
  void add(const void* bytes, size_t size) {
    auto from = static_cast<const uint8_t*>(bytes);
    total_ += size;
    for (; size > 0; --size) {
      block_[filled_++] = *from++;
      if (filled_ == sizeof block_)
        digest_block();
    }
  }

  void finish(uint8_t (&digest)[digest_bytes]) {
    auto bits = total_ * 8;
    constexpr uint8_t one = 0x80, zero = 0;
    add(&one, 1);
    while (filled_ != sizeof block_ - sizeof bits)
      add(&zero, 1);
    for (int shift = 56; shift >= 0; shift -= 8)
      block_[filled_++] = static_cast<uint8_t>(bits >> shift);
    digest_block();
    for (size_t i = 0; i < digest_bytes; ++i)
      digest[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - i % 4 * 8));
  }

private:
  static uint32_t rotated(uint32_t x, int by) { return x >> by | x << (32 - by); }

  void digest_block() {
    // The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    static constexpr uint32_t constants[64]
      = {0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
         0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
         0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
         0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
         0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
         0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
         0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
         0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64];
    for (int i = 0; i < 16; ++i)
      w[i] = static_cast<uint32_t>(block_[4 * i]) << 24 | static_cast<uint32_t>(block_[4 * i + 1]) << 16
           | static_cast<uint32_t>(block_[4 * i + 2]) << 8 | block_[4 * i + 3];
    for (int i = 16; i < 64; ++i) {
      auto s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
      auto s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    memcpy(v, state_, sizeof v);
    for (int i = 0; i < 64; ++i) {
      auto s1 = rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25);
      auto t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + w[i];
      auto s0 = rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22);
      auto t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      memmove(v + 1, v, 7 * sizeof v[0]);
      v[4] += t1;
      v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; ++i)
      state_[i] += v[i];
    filled_ = 0;
  }

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t total_ = 0;
  uint8_t block_[64];
  size_t filled_ = 0;
};

/// The key has at most 64 bytes.
inline void
hmac_sha256(const void* key, size_t key_size, const void* message, size_t size, uint8_t (&digest)[digest_bytes]) {
  uint8_t pad[64] = {};
  memcpy(pad, key, key_size);
  for (auto& one : pad)
    one ^= 0x36;
  sha256 inner;
  inner.add(pad, sizeof pad);
  inner.add(message, size);
  inner.finish(digest);
  for (auto& one : pad)
    one ^= 0x36 ^ 0x5c;
  sha256 outer;
  outer.add(pad, sizeof pad);
  outer.add(digest, sizeof digest);
  outer.finish(digest);
}

/// `count` bytes as twice as many hexadecimal digits, and a NUL.
inline void write_hexadecimal(const uint8_t* bytes, size_t count, char* to) {
  static constexpr char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < count; ++i) {
    *to++ = digits[bytes[i] >> 4];
    *to++ = digits[bytes[i] & 15];
  }
  *to = 0;
}

} // namespace davit::init
