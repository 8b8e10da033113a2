// https://huggingface.co/docs/safetensors: the format. The header is read in one pass by events, so
// that what it costs grows with the tensors it names and not with the JSON around them.
#include "safetensors_file.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>

#include "gguf_part.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // by the format
constexpr size_t kMaxNameBytes = 4096;
constexpr uint32_t kMaxDims = 16;

std::optional<TensorType> type_of(std::string_view dtype) {
  using enum TensorType;
  static constexpr std::pair<std::string_view, TensorType> kTypes[] = {
      {"F32", kF32},         {"F16", kF16},         {"BF16", kBF16},       {"F64", kF64},
      {"F8_E4M3", kF8_E4M3}, {"F8_E5M2", kF8_E5M2}, {"F8_E8M0", kF8_E8M0}, {"BOOL", kBool},
      {"U8", kU8},           {"I8", kI8},           {"U16", kU16},         {"I16", kI16},
      {"U32", kU32},         {"I32", kI32},         {"U64", kU64},         {"I64", kI64}};
  for (const auto& [name, type] : kTypes)
    if (name == dtype) return type;
  return std::nullopt;
}

/// Builds the tensors from the header's events: {name: {"dtype": string, "shape": [n..],
/// "data_offsets": [begin, end]},
/// "__metadata__": {string: string}}. Whatever else it meets is an error, but unknown members of a
/// tensor are skipped.
class HeaderReader {
 public:
  HeaderReader(SafetensorsFile& out, std::string path, const std::byte* data, uint64_t data_bytes)
      : out_(out), path_(std::move(path)), data_(data), data_bytes_(data_bytes) {}

  bool StartObject() {
    if (depth_ == 1) in_metadata_ = key_ == "__metadata__";
    if (depth_ == 1 && !in_metadata_) start_tensor();
    return ++depth_ <= 8;
  }
  bool EndObject(rapidjson::SizeType) {
    --depth_;
    if (depth_ == 1 && !in_metadata_) finish_tensor();
    if (depth_ == 1) in_metadata_ = false;
    return true;
  }
  bool Key(const char* text, rapidjson::SizeType n, bool) {
    if (depth_ > 2) return true;
    key_.assign(text, n);
    if (depth_ == 1) name_ = key_;
    return true;
  }
  bool StartArray() {
    if (depth_ == 2 && key_ == "shape") shape_seen_ = true;
    return depth_ > 1 && ++depth_ <= 8;
  }
  bool EndArray(rapidjson::SizeType) {
    --depth_;
    return true;
  }
  bool String(const char* text, rapidjson::SizeType n, bool) {
    if (depth_ == 2 && !in_metadata_ && key_ == "dtype") dtype_.assign(text, n);
    return depth_ > 1;
  }
  bool Uint64(uint64_t number) {
    if (depth_ != 3 || in_metadata_) return depth_ > 1;
    if (key_ == "shape") {
      if (rank_ == kMaxDims) corrupt("has more than " + std::to_string(kMaxDims) + " dimensions");
      shape_[rank_++] = number;
    } else if (key_ == "data_offsets") {
      if (offsets_seen_ == 2) corrupt("has more than two offsets");
      offsets_[offsets_seen_++] = number;
    }
    return true;
  }
  bool Uint(unsigned number) { return Uint64(number); }
  bool Int(int) { return other(); }
  bool Int64(int64_t) { return other(); }
  bool Double(double) { return other(); }
  bool Bool(bool) { return other(); }
  bool Null() { return other(); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return other(); }

 private:
  [[noreturn]] void fail(ErrorCode code, const std::string& why) const {
    throw Error(code, path_ + ": tensor '" + printable(name_) + "' " + why);
  }
  [[noreturn]] void corrupt(const std::string& why) const { fail(ErrorCode::kCorrupt, why); }

  bool other() {
    if (depth_ == 3 && !in_metadata_ && (key_ == "shape" || key_ == "data_offsets"))
      corrupt("has a number in '" + key_ + "' that is not a whole number from 0 on");
    return depth_ > 1;
  }

  void start_tensor() {
    dtype_.clear();
    rank_ = offsets_seen_ = 0;
    shape_seen_ = false;
  }

  void finish_tensor() {
    if (name_.empty() || name_.size() > kMaxNameBytes) corrupt("has a bad name");
    if (dtype_.empty() || !shape_seen_ || offsets_seen_ != 2)
      corrupt("lacks one of dtype, shape and data_offsets");
    const auto type = type_of(dtype_);
    if (!type)
      fail(ErrorCode::kUnsupported, "has elements of the unknown type '" + printable(dtype_) + "'");
    Tensor tensor{};
    tensor.type = *type;
    set_dims(tensor);
    const auto [begin, end] = offsets_;
    if (begin > end || end > data_bytes_)
      corrupt("lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
              " of the data, which has " + std::to_string(data_bytes_) +
              "; the file is cut off or damaged, download it again");
    if (end - begin != tensor.bytes)
      corrupt("takes " + std::to_string(end - begin) + " bytes instead of the " +
              std::to_string(tensor.bytes) + " of its shape");
    tensor.data = data_ + begin;
    tensor.name = out_.names.emplace_back(name_);
    out_.tensors.push_back(tensor);
  }

  void set_dims(Tensor& tensor) const {
    uint64_t bytes = tensor_type_info(tensor.type)->block_bytes;
    tensor.dims = {1, 1, 1, 1};
    bool empty = false;  // then other dimensions may be anything
    for (uint32_t i = 0; i < rank_; ++i) {
      empty = empty || shape_[i] == 0;
      if (shape_[i] > INT64_MAX) corrupt("has an impossible dimension");
    }
    for (uint32_t i = 0; i < rank_ && !empty; ++i)
      if (__builtin_mul_overflow(bytes, shape_[i], &bytes)) corrupt("has a size that overflows");
    if (empty) {
      tensor.n_dims = 1;
      tensor.dims[0] = 0;
      return;
    }
    tensor.n_dims = std::min(rank_, 4u);
    for (uint32_t i = 0; i < rank_; ++i) tensor.dims[std::min(i, 3u)] *= shape_[rank_ - 1 - i];
    tensor.bytes = bytes;
  }

  SafetensorsFile& out_;
  const std::string path_;
  const std::byte* data_;
  const uint64_t data_bytes_;
  int depth_ = 0;
  bool in_metadata_ = false, shape_seen_ = false;
  std::string key_, name_, dtype_;
  std::array<uint64_t, kMaxDims> shape_{};
  std::array<uint64_t, 2> offsets_{};
  uint32_t rank_ = 0, offsets_seen_ = 0;
};

template <class Handler>
void parse_events(std::string_view json, const std::string& where, Handler& handler) {
  rapidjson::MemoryStream stream(json.data(), json.size());
  rapidjson::Reader reader;
  reader.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseStopWhenDoneFlag>(stream, handler);
  if (reader.HasParseError())
    throw Error(ErrorCode::kCorrupt,
                where + ": bad JSON at byte " + std::to_string(reader.GetErrorOffset()) + ": " +
                    (reader.GetParseErrorCode() == rapidjson::kParseErrorTermination
                         ? "not what belongs there"
                         : rapidjson::GetParseError_En(reader.GetParseErrorCode())));
}

/// Two tensors of one name, or that share bytes: nobody writes that but by mistake or with intent.
void check_places(const std::vector<Tensor>& tensors, const std::string& path) {
  std::vector<const Tensor*> sorted;
  for (const Tensor& tensor : tensors) sorted.push_back(&tensor);
  const auto fail = [&](const Tensor* tensor, const std::string& why) {
    throw Error(ErrorCode::kCorrupt, path + ": tensor '" + printable(tensor->name) + "' " + why);
  };
  std::sort(sorted.begin(), sorted.end(),
            [](const Tensor* a, const Tensor* b) { return a->name < b->name; });
  for (size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i]->name == sorted[i - 1]->name) fail(sorted[i], "occurs twice");
  std::erase_if(sorted, [](const Tensor* tensor) { return tensor->bytes == 0; });
  std::sort(sorted.begin(), sorted.end(),
            [](const Tensor* a, const Tensor* b) { return a->data < b->data; });
  for (size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i - 1]->data + sorted[i - 1]->bytes > sorted[i]->data)
      fail(sorted[i], "overlaps '" + printable(sorted[i - 1]->name) + "'");
}

/// Collects the file names of an index; all that is not in weight_map is skipped.
class IndexReader : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, IndexReader> {
 public:
  explicit IndexReader(std::string path) : path_(std::move(path)) {}

  bool StartObject() { return ++depth_ <= 64; }
  bool EndObject(rapidjson::SizeType) {
    --depth_;
    return true;
  }
  bool StartArray() { return ++depth_ <= 64; }
  bool EndArray(rapidjson::SizeType) {
    --depth_;
    return true;
  }
  bool Key(const char* text, rapidjson::SizeType n, bool) {
    if (depth_ == 1) in_map_ = std::string_view(text, n) == "weight_map";
    return true;
  }
  bool String(const char* text, rapidjson::SizeType n, bool) {
    if (depth_ != 2 || !in_map_) return true;
    const std::string_view name(text, n);
    // A shard lies beside its index. Anything else could name any file of the machine.
    if (name.empty() || name.size() > 255 || name.find('/') != name.npos ||
        name.find('\\') != name.npos || name.find('\0') != name.npos || name.starts_with('.'))
      throw Error(ErrorCode::kCorrupt,
                  path_ + ": '" + printable(name) + "' is no name of a file beside the index");
    if (names.size() >= 10'000) throw Error(ErrorCode::kCorrupt, path_ + ": too many files");
    names.emplace(name);
    return true;
  }

  std::set<std::string> names;

 private:
  const std::string path_;
  int depth_ = 0;
  bool in_map_ = false;
};

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file(path) {
  const auto bytes = file.bytes();
  const auto corrupt = [&](const std::string& why) {
    throw Error(ErrorCode::kCorrupt, path.string() + ": " + why);
  };
  if (bytes.size() < 8) corrupt(describe_foreign_file(bytes));
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header > bytes.size() - 8 || header > kMaxHeaderBytes || header < 2) {
    const std::string what = describe_foreign_file(bytes);
    corrupt("its header counts " + std::to_string(header) + " bytes, but the file has " +
            std::to_string(bytes.size()) + (what.starts_with("not a") ? "" : "; it is " + what) +
            "; download it again");
  }
  HeaderReader reader(*this, path.string(), bytes.data() + 8 + header, bytes.size() - 8 - header);
  const std::string_view json = text_of(file).substr(8, header);
  if (json[0] != '{') corrupt("not a safetensors file (its header is no JSON object)");
  parse_events(json, path.string(), reader);
  check_places(tensors, path.string());
}

std::vector<std::string> read_shard_names(const std::filesystem::path& index) {
  const MappedFile file(index);
  if (file.bytes().size() > kMaxHeaderBytes)
    throw Error(ErrorCode::kCorrupt, index.string() + ": too large for an index");
  IndexReader reader(index.string());
  parse_events(text_of(file), index.string(), reader);
  if (reader.names.empty())
    throw Error(ErrorCode::kCorrupt, index.string() + ": its 'weight_map' names no file");
  return {reader.names.begin(), reader.names.end()};
}

}  // namespace spnl::modelkit
