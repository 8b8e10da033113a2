#include "cache/chain_key.h"

#include <bit>
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

void ChainHasher::word(uint64_t value) {
  v3_ ^= value;
  round(v0_, v1_, v2_, v3_);
  round(v0_, v1_, v2_, v3_);
  v0_ ^= value;
}

ChainHasher& ChainHasher::add(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    pending_ |= static_cast<uint64_t>(byte) << (8 * (length_ % 8));
    if (++length_ % 8 != 0) continue;
    word(pending_);
    pending_ = 0;
  }
  return *this;
}

ChainHasher& ChainHasher::add(uint64_t value) { return add(std::as_bytes(std::span(&value, 1))); }

ChainKey ChainHasher::finish() {
  word(pending_ | length_ << 56);
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
