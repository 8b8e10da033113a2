#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace spnl::mistralrs {

/// Names a chain of tokens and all that its keys and values depend on.
struct ChainKey {
  uint64_t low = 0, high = 0;
  auto operator<=>(const ChainKey&) const = default;
};

struct ChainKeyHash {
  size_t operator()(const ChainKey& key) const { return static_cast<size_t>(key.low); }
};

using ChainSecret = std::array<uint64_t, 2>;

/// A secret of this process.
ChainSecret random_secret();

/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012): who does not know the secret
/// cannot make two chains with one key.
ChainKey chain_hash(const ChainSecret& secret, std::span<const std::byte> bytes);

/// Collects what a key depends on.
class ChainHasher {
 public:
  explicit ChainHasher(const ChainSecret& secret);
  ChainHasher& add(std::span<const std::byte> bytes);
  ChainHasher& add(std::span<const int32_t> values) { return add(std::as_bytes(values)); }
  ChainHasher& add(uint64_t value);
  ChainHasher& add(const ChainKey& key) { return add(key.low).add(key.high); }
  /// With its length, so that texts one after the other stay apart.
  ChainHasher& add(std::string_view text);
  ChainKey finish();

 private:
  void words(const std::byte* bytes, size_t count);

  uint64_t v0_, v1_, v2_, v3_;
  uint64_t pending_ = 0, length_ = 0;
};

}  // namespace spnl::mistralrs
