#include "cache/span_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOwnFile = 0600, kOwnFolder = 0700;
constexpr size_t kHexDigits = 32;
constexpr const char* kExtension = ".kv";
constexpr const char* kUnfinished = ".tmp";
/// A file that nobody has finished for so long is left from a process that was ended.
constexpr std::chrono::hours kAbandoned{1};
/// Of the most bytes: what is made free beyond need, and what other processes may write unseen.
constexpr uint64_t kSlack = 16;

std::string hex(const ChainKey& key) {
  char text[kHexDigits + 1];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(key.high),
                static_cast<unsigned long long>(key.low));
  return text;
}

bool is_hex(const std::string& text) {
  return text.size() == kHexDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

[[noreturn]] void fail(const fs::path& path) {
  throw std::system_error(errno, std::generic_category(), path.string());
}

void write_all(int file, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

/// A new file beside `path` that goes away again unless it is given that name.
class NewFile {
 public:
  NewFile(const fs::path& path, std::span<const std::byte> bytes) : path_(path) {
    const ChainSecret unique = random_secret();
    temporary_ = path.parent_path() / ("." + hex({unique[0], unique[1]}) + kUnfinished);
    const OpenFile file(
        ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kOwnFile));
    if (file.number() < 0) fail(path.parent_path());
    try {
      write_all(file.number(), bytes, path);
      if (::fsync(file.number()) != 0) fail(path);
    } catch (...) {
      discard();
      throw;
    }
  }
  ~NewFile() { discard(); }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void replace() {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_);
    temporary_.clear();
  }
  /// False: another was first.
  bool take_free_name() {
    if (::link(temporary_.c_str(), path_.c_str()) == 0) return true;
    if (errno == EEXIST) return false;
    // A file system without hard links.
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0) {
      temporary_.clear();
      return true;
    }
    if (errno == EEXIST) return false;
    fail(path_);
  }

 private:
  void discard() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  const fs::path path_;
  fs::path temporary_;
};

/// The secret of a folder, made by whoever comes first; all that come later read that one.
ChainSecret secret_of(const fs::path& folder) {
  const fs::path path = folder / "secret";
  struct stat found;
  if (::lstat(path.c_str(), &found) != 0) {
    const ChainSecret made = random_secret();
    NewFile(path, std::as_bytes(std::span(made))).take_free_name();
  }
  ChainSecret secret;
  const OpenFile file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.number() < 0 || ::fstat(file.number(), &found) != 0) fail(path);
  if (!S_ISREG(found.st_mode) || found.st_size != sizeof secret ||
      ::read(file.number(), secret.data(), sizeof secret) != sizeof secret)
    throw modelkit::Error(modelkit::ErrorCode::kIo,
                          path.string() + " is not the secret of a span cache");
  return secret;
}

struct Found {
  fs::path path;
  uint64_t bytes;
  timespec used;
};

/// A file that was begun and never finished.
bool is_abandoned(const fs::path& path) {
  std::error_code ignored;
  const auto written = fs::last_write_time(path, ignored);
  return !ignored && path.extension() == kUnfinished && is_hex(path.stem().string().substr(1)) &&
         fs::file_time_type::clock::now() - written > kAbandoned;
}

void list_group(const fs::path& group, std::vector<Found>& files) {
  std::error_code ignored;
  for (fs::directory_iterator it(group, ignored), end; it != end; it.increment(ignored)) {
    const fs::path& path = it->path();
    struct stat found;
    if (path.extension() == kExtension && is_hex(path.stem().string()) &&
        ::lstat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode))
      files.push_back({path, static_cast<uint64_t>(found.st_size), found.st_atim});
    else if (is_abandoned(path))
      fs::remove(path, ignored);
  }
}

void remove_own(const fs::path& path) {
  const OpenFile file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.number() >= 0 && is_span_file(file.number())) ::unlink(path.c_str());
}

}  // namespace

OpenFile::~OpenFile() {
  if (number_ >= 0) ::close(number_);
}

SpanFolder::SpanFolder(fs::path folder, uint64_t max_bytes)
    : folder_(std::move(folder)), max_bytes_(max_bytes) {
  try {
    if (fs::create_directories(folder_)) fs::permissions(folder_, fs::perms::owner_all);
    secret_ = secret_of(folder_);
  } catch (const std::system_error& e) {
    throw modelkit::Error(modelkit::ErrorCode::kIo,
                          folder_.string() + " cannot be used: " + e.code().message());
  }
}

fs::path SpanFolder::file_of(const SpanName& name) const {
  return folder_ / hex(name.group) / (hex(name.end) + kExtension);
}

bool SpanFolder::has(const SpanName& name) const {
  struct stat found;
  return ::lstat(file_of(name).c_str(), &found) == 0;
}

int SpanFolder::open(const SpanName& name) const {
  const int file = ::open(file_of(name).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  // Whatever the file system is told to note by itself.
  constexpr timespec kUsedNow[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  if (file >= 0) ::futimens(file, kUsedNow);
  return file;
}

void SpanFolder::remove(const SpanName& name) const { remove_own(file_of(name)); }

bool SpanFolder::write(const SpanImage& image) {
  const uint64_t bytes = image.bytes().size();
  if (bytes > max_bytes_ || has(image.name())) return false;
  if (bytes > until_look_ || bytes_ + bytes > max_bytes_) make_room(bytes);
  const fs::path path = file_of(image.name());
  if (::mkdir(path.parent_path().c_str(), kOwnFolder) != 0 && errno != EEXIST)
    fail(path.parent_path());
  NewFile(path, image.bytes()).replace();
  bytes_ += bytes;
  until_look_ -= std::min(until_look_, bytes);
  return true;
}

void SpanFolder::make_room(uint64_t room) {
  std::vector<Found> files;
  std::error_code ignored;
  for (fs::directory_iterator it(folder_, ignored), end; it != end; it.increment(ignored))
    if (is_hex(it->path().filename().string())) list_group(it->path(), files);
  bytes_ = 0;
  for (const Found& file : files) bytes_ += file.bytes;
  until_look_ = max_bytes_ / kSlack + room;
  if (bytes_ + room <= max_bytes_) return;
  std::sort(files.begin(), files.end(), [](const Found& a, const Found& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) < std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  const uint64_t wanted = max_bytes_ - std::min(max_bytes_, room + max_bytes_ / kSlack);
  for (const Found& file : files) {
    if (bytes_ <= wanted) break;
    remove_own(file.path);
    bytes_ -= file.bytes;
  }
}

}  // namespace spnl::mistralrs
