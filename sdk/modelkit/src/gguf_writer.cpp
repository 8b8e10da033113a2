#include "spnl/modelkit/gguf_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "gguf_part.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

constexpr uint32_t kVersion = 3, kListType = 9;
constexpr uint64_t kAlignment = 32;  // the format's default, so no key needs to say so
constexpr uint64_t kMostNameBytes = 63;
constexpr size_t kBufferBytes = 1 << 20;

uint64_t padded(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <class T>
void append(std::string& to, T number) {
  to.append(reinterpret_cast<const char*>(&number), sizeof number);
}
void append_text(std::string& to, std::string_view text) {
  append<uint64_t>(to, text.size());
  to += text;
}

/// The format's number of each kind in GgufWriter::Value.
constexpr std::array<uint32_t, std::variant_size_v<GgufWriter::Value>> kTypeIds = {7,  4, 5,
                                                                                   10, 6, 8};

/// A file of its own beside `target`, which it replaces in the end.
class ReplacingFile {
 public:
  explicit ReplacingFile(const std::filesystem::path& target) : target_(target) {
    for (int attempt = 0; fd_ < 0; ++attempt) {
      temporary_ = target_;
      temporary_ += ".part-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
      fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0 && (errno != EEXIST || attempt == 100)) fail("create", errno);
    }
  }
  ~ReplacingFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
  ReplacingFile(const ReplacingFile&) = delete;
  ReplacingFile& operator=(const ReplacingFile&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }

  /// The file gets this size at once, so that a disk that is too small is known before the work.
  void reserve(uint64_t bytes) {
    while (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0) {
      if (errno == EINTR) continue;
      if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) fail("write", errno, bytes);
      break;  // a file system that cannot reserve
    }
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) fail("write", errno, bytes);
  }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write", errno);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

  void replace_target() {
    if (::fsync(fd_) != 0) fail("write", errno);
    const int fd = fd_;
    fd_ = -1;
    const int problem =
        ::close(fd) != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0 ? errno : 0;
    if (problem != 0) {
      ::unlink(temporary_.c_str());
      fail("write", problem);
    }
    // The new name must outlive a crash too; a folder that cannot be synchronised is no reason to
    // fail.
    const std::filesystem::path folder = target_.has_parent_path() ? target_.parent_path() : ".";
    const int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) return;
    ::fsync(folder_fd);
    ::close(folder_fd);
  }

 private:
  [[noreturn]] void fail(const char* doing, int number, uint64_t wanted = 0) const {
    std::string text =
        target_.string() + ": cannot " + doing + ": " + std::generic_category().message(number);
    if (wanted != 0) text += "; the file needs " + std::to_string(wanted) + " bytes";
    throw Error(ErrorCode::kIo, text);
  }

  std::filesystem::path target_, temporary_;
  int fd_ = -1;
};

}  // namespace

struct GgufWriter::Impl {
  explicit Impl(const std::filesystem::path& target) : path(target), file(target) {}

  std::filesystem::path path;
  ReplacingFile file;
  std::string values, table;  // of the header, as they will be in the file
  uint64_t n_values = 0, data_bytes = 0;
  std::vector<uint64_t> sizes;  // of the tensors
  bool header_written = false;
  size_t current = 0;    // the tensor that is being written
  uint64_t written = 0;  // of its bytes
  std::string buffer;

  [[noreturn]] void invalid(const std::string& why) const {
    throw Error(ErrorCode::kInvalid, path.string() + ": " + why);
  }
  void require_open_header() const {
    if (header_written)
      invalid("metadata and tensors must be named before the first tensor's bytes");
  }

  void begin_list(std::string_view key, uint32_t element_type, uint64_t count) {
    require_open_header();
    append_text(values, key);
    append(values, kListType);
    append(values, element_type);
    append(values, count);
    ++n_values;
  }

  void put(std::string_view bytes) {
    buffer += bytes;
    if (buffer.size() < kBufferBytes) return;
    file.write(buffer);
    buffer.clear();
  }

  void write_header() {
    if (header_written) return;
    header_written = true;
    std::string header = "GGUF";
    append(header, kVersion);
    append<uint64_t>(header, sizes.size());
    append<uint64_t>(header, n_values);
    header += values;
    header += table;
    header.resize(padded(header.size()));
    file.reserve(header.size() + data_bytes);
    put(header);
    values = table = {};
    end_full_tensors();
  }

  /// Pads what is complete, and goes on to the next tensor.
  void end_full_tensors() {
    while (current < sizes.size() && written == sizes[current]) {
      put(std::string(padded(written) - written, '\0'));
      written = 0;
      ++current;
    }
  }
};

GgufWriter::GgufWriter(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
GgufWriter::~GgufWriter() = default;

void GgufWriter::add_value(std::string_view key, const Value& value) {
  impl_->require_open_header();
  append_text(impl_->values, key);
  append(impl_->values, kTypeIds[value.index()]);
  std::visit(
      [&](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string_view>)
          append_text(impl_->values, v);
        else
          append(impl_->values, v);
      },
      value);
  ++impl_->n_values;
}

void GgufWriter::add_list(std::string_view key, std::span<const std::string> texts) {
  impl_->begin_list(key, kTypeIds[Value(std::string_view()).index()], texts.size());
  for (const std::string& text : texts) append_text(impl_->values, text);
}

void GgufWriter::add_list(std::string_view key, std::span<const float> numbers) {
  impl_->begin_list(key, kTypeIds[Value(0.0f).index()], numbers.size());
  for (const float number : numbers) append(impl_->values, number);
}

void GgufWriter::add_list(std::string_view key, std::span<const int32_t> numbers) {
  impl_->begin_list(key, kTypeIds[Value(int32_t{0}).index()], numbers.size());
  for (const int32_t number : numbers) append(impl_->values, number);
}

void GgufWriter::copy_value(const GgufFile::RawValue& value) {
  impl_->require_open_header();
  append_text(impl_->values, value.key);
  impl_->values.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  ++impl_->n_values;
}

void GgufWriter::add_tensor(std::string_view name, TensorType type,
                            std::span<const uint64_t> dims) {
  impl_->require_open_header();
  const auto info = tensor_type_info(type);
  if (name.size() > kMostNameBytes || dims.empty() || dims.size() > 4 || !info ||
      dims[0] % info->block_elements != 0)
    impl_->invalid("tensor '" + printable(name) + "' cannot be written: its name has more than " +
                   std::to_string(kMostNameBytes) +
                   " bytes, or its rows are not whole blocks of its type");
  append_text(impl_->table, name);
  append<uint32_t>(impl_->table, static_cast<uint32_t>(dims.size()));
  uint64_t elements = 1;
  for (const uint64_t dim : dims) {
    append(impl_->table, dim);
    elements *= dim;
  }
  append(impl_->table, static_cast<uint32_t>(type));
  append(impl_->table, impl_->data_bytes);
  impl_->sizes.push_back(tensor_bytes(type, elements));
  impl_->data_bytes += padded(impl_->sizes.back());
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  impl_->write_header();
  std::string_view left(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!left.empty()) {
    if (impl_->current == impl_->sizes.size()) impl_->invalid("more bytes than its tensors have");
    const auto n = static_cast<size_t>(
        std::min<uint64_t>(left.size(), impl_->sizes[impl_->current] - impl_->written));
    impl_->put(left.substr(0, n));
    impl_->written += n;
    left.remove_prefix(n);
    impl_->end_full_tensors();
  }
}

std::filesystem::path GgufWriter::preview() {
  impl_->write_header();
  impl_->file.write(impl_->buffer);
  impl_->buffer.clear();
  return impl_->file.temporary();
}

void GgufWriter::finish() {
  impl_->write_header();
  if (impl_->current != impl_->sizes.size())
    impl_->invalid("tensor " + std::to_string(impl_->current) + " has not got all its bytes");
  impl_->file.write(impl_->buffer);
  impl_->buffer = {};
  impl_->file.replace_target();
}

}  // namespace spnl::modelkit
