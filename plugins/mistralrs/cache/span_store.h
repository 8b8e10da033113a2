#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "cache/span_folder.h"

namespace spnl::mistralrs {

/// Keeps chains on disk, to be read by later processes with the same model. Rows are copied where
/// they are handed over, and written by a thread of its own. Whatever goes wrong with files costs a
/// note and no more. For who has the engine's turn, one thread at a time.
class SpanStore {
 public:
  /// May be called from any thread.
  using Note = std::function<void(const std::string&)>;
  /// Adds all that keys and values depend on besides tokens.
  using Identify = std::function<void(ChainHasher&)>;

  struct Options {
    std::filesystem::path folder;
    uint64_t max_bytes = uint64_t{8} << 30;  ///< of the folder
    double worth = 2;  ///< kept: what takes longer to compute than so many times to read
  };

  /// `memory` must outlive the store. Throws modelkit::Error(kIo) where there can be no folder.
  SpanStore(const Options& options, const Identify& identify, KvCache& memory, Note note);
  ~SpanStore() { close(); }
  SpanStore(const SpanStore&) = delete;
  SpanStore& operator=(const SpanStore&) = delete;

  /// Of the keys: the same in all processes for what `identify` says.
  const ChainSecret& secret() const { return secret_; }

  /// Reads rows [first, chain.rows()) into their blocks. False: they are not on disk, and the
  /// blocks hold nothing of use there.
  bool read(const ChainKey& end, const Chain& chain, const BlockNumbers& blocks, int64_t first);
  /// Keeps a chain whose rows have been computed, unless it is there, not worth it, or too much is
  /// still to be written.
  void write(const ChainKey& end, const Chain& chain, const BlockNumbers& blocks);
  /// What computing takes, as measured; 0 until then: everything is worth keeping.
  void set_seconds_per_token(double seconds) { seconds_per_token_ = seconds; }

  /// Writes what it has taken, and no more after that.
  void close();
  std::string summary() const;  ///< one line: what was read and written

 private:
  struct Count {
    std::atomic<uint64_t> files = 0, tokens = 0;
  };

  bool worth_writing(const Chain& chain) const;
  void write_queued();
  void note_once(std::atomic<bool>& noted, const std::string& text);

  SpanFolder folder_;
  const double worth_;
  KvCache& memory_;
  const Note note_;
  ChainKey group_;
  ChainSecret secret_;
  double seconds_per_token_ = 0;
  double read_bytes_, read_seconds_;  // as measured, on top of an assumption
  Count read_, written_;
  std::atomic<bool> noted_bad_ = false, failed_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<SpanImage> queue_;
  uint64_t queued_bytes_ = 0;
  bool ends_ = false;
  std::thread writer_;
};

}  // namespace spnl::mistralrs
