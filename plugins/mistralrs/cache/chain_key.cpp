#include "cache/chain_key.h"

#include <bit>
#include <cstring>
#include <random>

namespace spnl::mistralrs {
namespace {

void round(uint64_t& v0, uint64_t& v1, uint64_t& v2, uint64_t& v3) {
  v0 += v1;
  v1 = std::rotl(v1, 13) ^ v0;
  v0 = std::rotl(v0, 32);
  v2 += v3;
  v3 = std::rotl(v3, 16) ^ v2;
  v0 += v3;
  v3 = std::rotl(v3, 21) ^ v0;
  v2 += v1;
  v1 = std::rotl(v1, 17) ^ v2;
  v2 = std::rotl(v2, 32);
}

}  // namespace

ChainSecret random_secret() {
  std::random_device random;
  const auto word = [&] { return uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

ChainHasher::ChainHasher(const ChainSecret& secret)
    : v0_(secret[0] ^ 0x736f6d6570736575),
      v1_(secret[1] ^ 0x646f72616e646f6d ^ 0xee),
      v2_(secret[0] ^ 0x6c7967656e657261),
      v3_(secret[1] ^ 0x7465646279746573) {}

/// Takes whole words in one go: what is hashed may be megabytes.
void ChainHasher::words(const std::byte* bytes, size_t count) {
  uint64_t v0 = v0_, v1 = v1_, v2 = v2_, v3 = v3_;
  for (size_t i = 0; i < count; ++i) {
    uint64_t value;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    v3 ^= value;
    round(v0, v1, v2, v3);
    round(v0, v1, v2, v3);
    v0 ^= value;
  }
  v0_ = v0, v1_ = v1, v2_ = v2, v3_ = v3;
}

ChainHasher& ChainHasher::add(std::span<const std::byte> bytes) {
  const auto add_single = [this](std::byte byte) {
    pending_ |= static_cast<uint64_t>(byte) << (8 * (length_ % 8));
    if (++length_ % 8 != 0) return;
    words(reinterpret_cast<const std::byte*>(&pending_), 1);
    pending_ = 0;
  };
  for (; !bytes.empty() && length_ % 8 != 0; bytes = bytes.subspan(1)) add_single(bytes.front());
  const size_t whole = bytes.size() / 8;
  words(bytes.data(), whole);
  length_ += whole * 8;
  for (const std::byte byte : bytes.subspan(whole * 8)) add_single(byte);
  return *this;
}

ChainHasher& ChainHasher::add(uint64_t value) { return add(std::as_bytes(std::span(&value, 1))); }

ChainHasher& ChainHasher::add(std::string_view text) {
  return add(uint64_t{text.size()}).add(std::as_bytes(std::span(text)));
}

ChainKey ChainHasher::finish() {
  pending_ |= length_ << 56;
  words(reinterpret_cast<const std::byte*>(&pending_), 1);
  const auto squeeze = [this] {
    for (int i = 0; i < 4; ++i) round(v0_, v1_, v2_, v3_);
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  };
  v2_ ^= 0xee;
  const uint64_t low = squeeze();
  v1_ ^= 0xdd;
  return {low, squeeze()};
}

ChainKey chain_hash(const ChainSecret& secret, std::span<const std::byte> bytes) {
  return ChainHasher(secret).add(bytes).finish();
}

}  // namespace spnl::mistralrs
