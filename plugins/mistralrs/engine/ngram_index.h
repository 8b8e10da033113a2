#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace spnl::mistralrs {

/// Guesses how a sequence goes on: as it did after the last time that its three last tokens came in
/// this order (prompt lookup decoding, Saxena 2023). Ids are kept by the caller, who only appends.
class NgramIndex {
 public:
  /// Writes up to `count` guesses at what follows `ids`. A guess may reach past the end of `ids`:
  /// what repeats goes on repeating.
  void propose(std::span<const int32_t> ids, size_t count, std::vector<int32_t>& guesses);

 private:
  static uint64_t key(std::span<const int32_t> ids, size_t end);

  std::unordered_map<uint64_t, uint32_t> last_end_;  // of a trigram: ids up to and with it
  size_t indexed_ = 0;                               // ids up to where trigrams are known
};

}  // namespace spnl::mistralrs
