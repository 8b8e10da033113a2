// https://huggingface.co/docs/safetensors: the format.
#include "safetensors_file.h"

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
constexpr size_t kMaxDims = 16, kMostShards = 5000;

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

/// One member of the header: {name: {"dtype": string, "shape": [n..], "data_offsets": [begin,
/// end]}}; unknown members of a tensor are skipped.
class TensorReader {
 public:
  TensorReader(const std::string& path, std::string_view name, const JsonValue& value)
      : path_(path), name_(name), value_(value) {}

  Tensor read(std::span<const std::byte> data) const {
    if (name_.empty() || name_.size() > kMaxNameBytes) corrupt("has a bad name");
    const auto dtype = value_.find("dtype"), shape = value_.find("shape"),
               offsets = value_.find("data_offsets");
    if (!dtype || !dtype->is_string() || !shape || !shape->is_array() || !offsets ||
        !offsets->is_array())
      corrupt("lacks one of dtype, shape and data_offsets");
    const auto type = type_of(dtype->text());
    if (!type)
      fail(ErrorCode::kUnsupported,
           "has elements of the unknown type '" + printable(dtype->text()) + "'");
    Tensor tensor{};
    tensor.name = name_;
    tensor.type = *type;
    set_dims(*shape, tensor);
    place(*offsets, data, tensor);
    return tensor;
  }

 private:
  [[noreturn]] void fail(ErrorCode code, const std::string& why) const {
    throw Error(code, path_ + ": tensor '" + printable(name_) + "' " + why);
  }
  [[noreturn]] void corrupt(const std::string& why) const { fail(ErrorCode::kCorrupt, why); }

  /// At most N numbers.
  template <size_t N>
  size_t read_numbers(const JsonValue& list, const char* what,
                      std::array<uint64_t, N>& numbers) const {
    size_t count = 0;
    for (const JsonValue& element : list.elements()) {
      if (count == N) corrupt("has more than " + std::to_string(N) + " " + what);
      const auto number = element.whole();
      if (!number) corrupt(std::string("has ") + what + " that are no whole numbers from 0 on");
      numbers[count++] = *number;
    }
    return count;
  }

  void set_dims(const JsonValue& list, Tensor& tensor) const {
    std::array<uint64_t, kMaxDims> shape{};
    const size_t rank = read_numbers(list, "dimensions", shape);
    uint64_t bytes = tensor_type_info(tensor.type)->block_bytes;
    tensor.dims = {1, 1, 1, 1};
    bool empty = false;  // then other dimensions may be anything
    for (size_t i = 0; i < rank; ++i) {
      empty = empty || shape[i] == 0;
      if (shape[i] > INT64_MAX) corrupt("has an impossible dimension");
    }
    for (size_t i = 0; i < rank && !empty; ++i)
      if (__builtin_mul_overflow(bytes, shape[i], &bytes)) corrupt("has a size that overflows");
    if (empty) {
      tensor.n_dims = 1;
      tensor.dims[0] = 0;
      return;
    }
    tensor.n_dims = static_cast<uint32_t>(std::min<size_t>(rank, 4));
    for (size_t i = 0; i < rank; ++i) tensor.dims[std::min<size_t>(i, 3)] *= shape[rank - 1 - i];
    tensor.bytes = bytes;
  }

  void place(const JsonValue& list, std::span<const std::byte> data, Tensor& tensor) const {
    std::array<uint64_t, 2> offsets{};
    if (read_numbers(list, "offsets", offsets) != 2)
      corrupt("lacks one of dtype, shape and data_offsets");
    const auto [begin, end] = offsets;
    if (begin > end || end > data.size())
      corrupt("lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
              " of the data, which has " + std::to_string(data.size()) +
              "; the file is cut off or damaged, download it again");
    if (end - begin != tensor.bytes)
      corrupt("takes " + std::to_string(end - begin) + " bytes instead of the " +
              std::to_string(tensor.bytes) + " of its shape");
    tensor.data = data.data() + begin;
  }

  const std::string& path_;
  const std::string_view name_;
  const JsonValue value_;
};

/// Tensors that share bytes: nobody writes that but by mistake or with intent.
void check_places(std::span<const Tensor> tensors, const std::string& path) {
  std::vector<const Tensor*> sorted;
  sorted.reserve(tensors.size());
  for (const Tensor& tensor : tensors)
    if (tensor.bytes != 0) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(),
            [](const Tensor* a, const Tensor* b) { return a->data < b->data; });
  for (size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i - 1]->data + sorted[i - 1]->bytes > sorted[i]->data)
      throw Error(ErrorCode::kCorrupt, path + ": tensor '" + printable(sorted[i]->name) +
                                           "' overlaps '" + printable(sorted[i - 1]->name) + "'");
}

/// A shard lies beside its index. Anything else could name any file of the machine.
bool is_name_of_shard(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.find('/') == name.npos &&
         name.find('\\') == name.npos && !name.starts_with('.') &&
         std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

std::string_view header_of(const MappedFile& file, const std::string& path) {
  const auto bytes = file.bytes();
  const auto corrupt = [&](const std::string& why) {
    throw Error(ErrorCode::kCorrupt, path + ": " + why);
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
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + 8, header);
  if (json[0] != '{') corrupt("not a safetensors file (its header is no JSON object)");
  return json;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path),
      header_(JsonFile::of_view(header_of(file_, path.string()), path.string())),
      data_(file_.bytes().subspan(8 + header_->size())) {}

size_t SafetensorsFile::most_tensors() const {
  constexpr size_t kLeastBytes = 50;  // "":{"dtype":"U8","shape":[],"data_offsets":[0,0]},
  return std::min(header_->root().size(), header_->size() / kLeastBytes + 1);
}

void SafetensorsFile::append_tensors(std::vector<Tensor>& tensors) {
  const size_t first = tensors.size();
  for (const auto& [key, value] : header_->root().members()) {
    if (key.text_is("__metadata__")) continue;
    const auto plain = key.plain_text();
    const std::string_view name = plain ? *plain : escaped_names_.emplace_back(key.text());
    tensors.push_back(TensorReader(path(), name, value).read(data_));
  }
  check_places(std::span(tensors).subspan(first), path());
}

std::vector<std::string> read_shard_names(const std::filesystem::path& index) {
  const auto file = JsonFile::open(index);
  if (!file) throw Error(ErrorCode::kNotFound, index.string() + ": there is no such file");
  std::set<std::string> names;
  const auto map = file->root().find("weight_map");
  if (!map) file->corrupt("its 'weight_map' names no file");
  for (const JsonMember& member : map->members()) {
    if (!member.value.is_string()) continue;
    std::string name = member.value.text();
    if (!is_name_of_shard(name))
      file->corrupt("'" + printable(name) + "' is no name of a file beside the index");
    if (names.size() >= kMostShards) file->corrupt("too many files");
    names.insert(std::move(name));
  }
  if (names.empty()) file->corrupt("its 'weight_map' names no file");
  return {names.begin(), names.end()};
}

}  // namespace spnl::modelkit
