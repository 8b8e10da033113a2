#include "cache/span_store.h"

#include <chrono>
#include <new>
#include <system_error>
#include <utility>

namespace spnl::mistralrs {
namespace {

/// Rows that wait for the disk; more are not kept.
constexpr uint64_t kMaxQueuedBytes = 256 << 20;
/// What a disk is taken for before much was read, and what opening a file costs, in bytes.
constexpr double kAssumedBytes = 64 << 20, kAssumedBytesPerSecond = 500e6, kBytesToOpen = 64 << 10;

ChainKey identity(const ChainSecret& secret, const SpanStore::Identify& identify) {
  ChainHasher hasher(secret);
  identify(hasher);
  return hasher.finish();
}

}  // namespace

SpanStore::SpanStore(const Options& options, const Identify& identify, KvCache& memory, Note note)
    : folder_(options.folder, options.max_bytes),
      worth_(options.worth),
      memory_(memory),
      note_(std::move(note)),
      read_bytes_(kAssumedBytes),
      read_seconds_(kAssumedBytes / kAssumedBytesPerSecond) {
  const ChainKey model = identity(folder_.secret(), identify);
  group_ = ChainHasher(folder_.secret()).add(model).add("group").finish();
  const ChainKey secret = ChainHasher(folder_.secret()).add(model).add("secret").finish();
  secret_ = {secret.low, secret.high};
  writer_ = std::thread([this] { write_queued(); });
}

void SpanStore::close() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (writer_.joinable()) writer_.join();
}

bool SpanStore::read(const ChainKey& end, const Chain& chain, const BlockNumbers& blocks,
                     int64_t first) try {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  const SpanName name{group_, end};
  const OpenFile file(folder_.open(name));
  if (file.number() < 0 && !folder_.has(name)) return false;
  if (file.number() < 0 ||
      !read_span_file(file.number(), secret_, name, chain, memory_, blocks, first)) {
    folder_.remove(name);
    note_once(noted_bad_, "span_cache: " + folder_.path().string() +
                              " has files that are damaged or not ours; they are not used");
    return false;
  }
  ++read_.files;
  read_.tokens += static_cast<uint64_t>(chain.rows());
  read_bytes_ += static_cast<double>(SpanFileLayout(memory_, chain.rows()).bytes()) + kBytesToOpen;
  read_seconds_ += std::chrono::duration<double>(Clock::now() - begin).count();
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

bool SpanStore::worth_writing(const Chain& chain) const {
  if (seconds_per_token_ == 0) return true;
  const double bytes =
      static_cast<double>(SpanFileLayout(memory_, chain.rows()).bytes()) + kBytesToOpen;
  const double to_read = bytes * read_seconds_ / read_bytes_;
  return static_cast<double>(chain.rows()) * seconds_per_token_ > worth_ * to_read;
}

void SpanStore::write(const ChainKey& end, const Chain& chain, const BlockNumbers& blocks) {
  const SpanName name{group_, end};
  if (failed_ || !worth_writing(chain) || folder_.has(name)) return;
  const uint64_t bytes = SpanFileLayout(memory_, chain.rows()).bytes();
  const std::lock_guard lock(mutex_);
  if (ends_ || (queued_bytes_ > 0 && queued_bytes_ + bytes > kMaxQueuedBytes)) return;
  try {
    queue_.emplace_back(memory_, name, chain, blocks);
  } catch (const std::bad_alloc&) {
    return;
  }
  queued_bytes_ += bytes;
  changed_.notify_one();
}

/// The writer's life.
void SpanStore::write_queued() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ends_ || !queue_.empty(); });
    if (queue_.empty()) return;
    SpanImage image = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    try {
      image.seal(secret_);
      if (!failed_ && folder_.write(image)) {
        ++written_.files;
        written_.tokens += image.rows();
      }
    } catch (const std::exception& e) {
      note_once(failed_,
                "span_cache: no more fragments are kept on disk: " + std::string(e.what()));
    }
    lock.lock();
    queued_bytes_ -= image.bytes().size();
  }
}

void SpanStore::note_once(std::atomic<bool>& noted, const std::string& text) {
  if (!noted.exchange(true) && note_) note_(text);
}

std::string SpanStore::summary() const {
  const auto counted = [](const Count& count) {
    return std::to_string(count.files) + " files of " + std::to_string(count.tokens) + " tokens";
  };
  return "span cache " + folder_.path().string() + ": read " + counted(read_) + ", wrote " +
         counted(written_);
}

}  // namespace spnl::mistralrs
