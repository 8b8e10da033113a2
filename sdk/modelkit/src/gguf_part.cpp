// The GGUF container, versions 2 and 3. Everything in the file is taken for hostile: no count or
// length is used before it was compared with the bytes that are there.
#include "gguf_part.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_set>

#include "legacy_ggml.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

constexpr uint64_t kMaxArrayElements =
    1u << 24;  // far above any vocabulary; bounds what widening to 8 bytes costs
constexpr uint64_t kMaxNarrowElements =
    1u << 12;  // of arrays whose elements widen to four or eight times their size
constexpr uint64_t kMaxNameBytes = 63;  // of a tensor, by the format
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxAlignment = 1u << 30;
constexpr uint64_t kLeastPairBytes = 8 + 4 + 1;  // key length, type, the smallest value
constexpr uint64_t kLeastTensorBytes =
    8 + 4 + 8 + 4 + 8;  // name length, n_dims, one dimension, type, offset

enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

class Reader {
 public:
  Reader(const std::filesystem::path& path, std::span<const std::byte> bytes)
      : path_(path), bytes_(bytes) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }
  uint64_t size() const { return bytes_.size(); }
  const std::byte* data() const { return bytes_.data(); }

  /// What is being read, for messages: "value of", "llama.block_count".
  void now(const char* what, std::string_view name = {}) {
    what_ = what;
    name_ = name;
  }

  [[noreturn]] void fail(ErrorCode code, const std::string& why) const {
    std::string text = path_.string() + ": " + what_;
    if (!name_.empty()) text += " '" + printable(name_) + "'";
    throw Error(code, text + ": " + why + " (at byte " + std::to_string(at_) + ")");
  }
  [[noreturn]] void corrupt(const std::string& why) const { fail(ErrorCode::kCorrupt, why); }

  template <class T>
  T number() {
    need(sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string_view string(uint64_t limit = UINT64_MAX) {
    const uint64_t length = number<uint64_t>();
    if (length > limit)
      corrupt("a name of " + std::to_string(length) + " bytes; at most " + std::to_string(limit) +
              " are allowed");
    return bytes(length);
  }

  std::string_view bytes(uint64_t n) {
    need(n);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + at_), n);
    at_ += n;
    return text;
  }

  /// A count of things that take at least `least` bytes each.
  uint64_t count(uint64_t least) {
    const uint64_t n = number<uint64_t>();
    if (n > left() / least)
      corrupt("counts " + std::to_string(n) + ", but only " + std::to_string(left()) +
              " bytes follow; the file is damaged or cut off");
    return n;
  }

 private:
  void need(uint64_t n) const {
    if (n > left())
      corrupt("the file ends here: " + std::to_string(n) + " more bytes were announced, it has " +
              std::to_string(bytes_.size()) + " in all; it is cut off, download it again");
  }

  const std::filesystem::path& path_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  const char* what_ = "header";
  std::string_view name_;
};

uint64_t element_bytes(uint32_t type) {
  switch (type) {
    case kU8:
    case kI8:
    case kBool:
      return 1;
    case kU16:
    case kI16:
      return 2;
    case kU32:
    case kI32:
    case kF32:
      return 4;
    case kU64:
    case kI64:
    case kF64:
    case kString:
      return 8;
    default:
      return 0;
  }
}

/// Calls visit(number) with the value at the cursor: int64_t, uint64_t or double.
template <class Visit>
auto read_number(Reader& in, uint32_t type, Visit visit) {
  switch (type) {
    case kU8:
      return visit(static_cast<uint64_t>(in.number<uint8_t>()));
    case kU16:
      return visit(static_cast<uint64_t>(in.number<uint16_t>()));
    case kU32:
      return visit(static_cast<uint64_t>(in.number<uint32_t>()));
    case kU64:
      return visit(in.number<uint64_t>());
    case kI8:
      return visit(static_cast<int64_t>(in.number<int8_t>()));
    case kI16:
      return visit(static_cast<int64_t>(in.number<int16_t>()));
    case kI32:
      return visit(static_cast<int64_t>(in.number<int32_t>()));
    case kI64:
      return visit(in.number<int64_t>());
    case kF32:
      return visit(static_cast<double>(in.number<float>()));
    default:
      return visit(in.number<double>());
  }
}

GgufFile::Value read_array(Reader& in) {
  const uint32_t type = in.number<uint32_t>();
  const uint64_t least = element_bytes(type);
  if (type == kArray) in.fail(ErrorCode::kUnsupported, "arrays of arrays are not supported");
  if (least == 0) in.corrupt("unknown array element type " + std::to_string(type));
  const uint64_t n = in.count(least);
  if (n > kMaxArrayElements)
    in.corrupt("an array of " + std::to_string(n) + " elements; at most " +
               std::to_string(kMaxArrayElements) + " are allowed");
  if ((type == kU8 || type == kI8) && n > kMaxNarrowElements) return in.bytes(n);
  if (least < 4 && n > kMaxNarrowElements)
    in.corrupt("a list of " + std::to_string(n) + " small numbers; at most " +
               std::to_string(kMaxNarrowElements) + " are allowed");
  if (type == kString) {
    std::vector<std::string_view> strings(n);
    for (auto& text : strings) text = in.string();
    return strings;
  }
  if (type == kBool) {
    std::vector<bool> flags(n);
    for (uint64_t i = 0; i < n; ++i) flags[i] = in.number<uint8_t>() != 0;
    return flags;
  }
  if (type == kF32 || type == kF64) {
    std::vector<double> numbers(n);
    for (auto& number : numbers) number = type == kF32 ? in.number<float>() : in.number<double>();
    return numbers;
  }
  std::vector<int64_t> numbers(n);
  for (auto& number : numbers) {
    number = read_number(in, type, [](auto value) { return static_cast<int64_t>(value); });
    if (type == kU64 && number < 0) in.corrupt("an array element beyond 2^63");
  }
  return numbers;
}

GgufFile::Value read_value(Reader& in) {
  const uint32_t type = in.number<uint32_t>();
  if (type == kArray) return read_array(in);
  if (type == kString) return in.string();
  if (type == kBool) return in.number<uint8_t>() != 0;
  if (element_bytes(type) == 0) in.corrupt("unknown value type " + std::to_string(type));
  return read_number(in, type, [](auto value) { return GgufFile::Value(value); });
}

void check_start(Reader& in, const std::filesystem::path& path, std::span<const std::byte> bytes) {
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0)
    throw Error(ErrorCode::kCorrupt, path.string() + ": " + describe_foreign_file(bytes));
  in.number<uint32_t>();
  const uint32_t version = in.number<uint32_t>();
  if (version == 2 || version == 3) return;
  if (version != 0 && (version & 0xFFFFu) == 0)
    in.fail(ErrorCode::kUnsupported,
            "big-endian GGUF files are not supported; convert it to little-endian");
  in.fail(ErrorCode::kUnsupported,
          "GGUF version " + std::to_string(version) + " is not supported (2 and 3 are)");
}

uint64_t alignment_of(Reader& in, const GgufPart& part) {
  const auto found = part.values.find("general.alignment");
  if (found == part.values.end()) return 32;
  in.now("value of", "general.alignment");
  uint64_t alignment = 0;
  if (const auto* u = std::get_if<uint64_t>(&found->second)) alignment = *u;
  if (const auto* i = std::get_if<int64_t>(&found->second))
    alignment = *i > 0 ? static_cast<uint64_t>(*i) : 0;
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment)
    in.corrupt("must be a power of two below 2^31");
  return alignment;
}

/// One entry of the tensor table; `data` still holds the offset from the start of the data section.
Tensor read_tensor(Reader& in, uint64_t& offset) {
  Tensor tensor{};
  tensor.name = in.string(kMaxNameBytes);
  in.now("tensor", tensor.name);
  if (tensor.name.empty()) in.corrupt("a tensor without a name");
  tensor.n_dims = in.number<uint32_t>();
  if (tensor.n_dims == 0 || tensor.n_dims > 4)
    in.corrupt(std::to_string(tensor.n_dims) + " dimensions; 1 to 4 are allowed");
  tensor.dims = {1, 1, 1, 1};
  uint64_t elements = 1;
  for (uint32_t i = 0; i < tensor.n_dims; ++i) {
    tensor.dims[i] = in.number<uint64_t>();
    if (tensor.dims[i] == 0 || tensor.dims[i] > INT64_MAX ||
        __builtin_mul_overflow(elements, tensor.dims[i], &elements))
      in.corrupt("impossible dimension " + std::to_string(tensor.dims[i]));
  }
  const uint32_t type = in.number<uint32_t>();
  tensor.type = static_cast<TensorType>(type);
  const auto info = tensor_type_info(tensor.type);
  if (!info || type >= kFirstOwnType)
    in.fail(ErrorCode::kUnsupported, "has the unknown tensor type " + std::to_string(type));
  if (tensor.dims[0] % info->block_elements != 0)
    in.corrupt("rows of " + std::to_string(tensor.dims[0]) + " elements are not whole blocks of " +
               std::to_string(info->block_elements) + " (" + std::string(info->name) + ")");
  if (__builtin_mul_overflow(elements / info->block_elements,
                             static_cast<uint64_t>(info->block_bytes), &tensor.bytes))
    in.corrupt("its size overflows");
  offset = in.number<uint64_t>();
  return tensor;
}

void place_tensors(Reader& in, GgufPart& part, const std::vector<uint64_t>& offsets,
                   uint64_t alignment) {
  const uint64_t start = (in.at() + alignment - 1) / alignment * alignment;
  for (size_t i = 0; i < part.tensors.size(); ++i) {
    Tensor& tensor = part.tensors[i];
    in.now("tensor", tensor.name);
    if (offsets[i] % alignment != 0)
      in.corrupt("its offset " + std::to_string(offsets[i]) +
                 " is not a multiple of the alignment " + std::to_string(alignment));
    const uint64_t room = in.size() > start ? in.size() - start : 0;
    if (offsets[i] > room || tensor.bytes > room - offsets[i])
      in.corrupt("needs " + std::to_string(tensor.bytes) + " bytes at " +
                 std::to_string(offsets[i]) + " of the data, which has " + std::to_string(room) +
                 "; the file is cut off or damaged, download it again");
    tensor.data = in.data() + start + offsets[i];
  }
  // Writers lay tensors out one after the other. Without a look at overlaps, a small file could
  // claim any amount of weights.
  std::vector<const Tensor*> sorted;
  sorted.reserve(part.tensors.size());
  for (const Tensor& tensor : part.tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(),
            [](const Tensor* a, const Tensor* b) { return a->data < b->data; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    in.now("tensor", sorted[i]->name);
    if (sorted[i - 1]->data + sorted[i - 1]->bytes > sorted[i]->data)
      in.corrupt("overlaps '" + printable(sorted[i - 1]->name) + "'");
  }
}

}  // namespace

GgufPart::GgufPart(const std::filesystem::path& path) : file(path) {
  if (is_legacy_ggml(file.bytes())) {
    read_legacy_ggml(path, *this);
    return;
  }
  Reader in(path, file.bytes());
  check_start(in, path, file.bytes());
  in.now("number of tensors");
  const uint64_t n_tensors = in.count(kLeastTensorBytes);
  in.now("number of metadata entries");
  const uint64_t n_values = in.count(kLeastPairBytes);
  for (uint64_t i = 0; i < n_values; ++i) {
    in.now("metadata");
    const std::string_view key = in.string(kMaxKeyBytes);
    in.now("value of", key);
    const uint64_t begin = in.at();
    if (!values.emplace(key, read_value(in)).second) in.corrupt("the key occurs twice");
    raw_values.push_back({key, {in.data() + begin, in.at() - begin}});
  }
  const uint64_t alignment = alignment_of(in, *this);
  std::vector<uint64_t> offsets;
  tensors.reserve(n_tensors);
  offsets.reserve(n_tensors);
  std::unordered_set<std::string_view> names;
  for (uint64_t i = 0; i < n_tensors; ++i) {
    in.now("tensor table");
    uint64_t offset = 0;
    tensors.push_back(read_tensor(in, offset));
    offsets.push_back(offset);
    if (!names.insert(tensors.back().name).second) in.corrupt("the tensor occurs twice");
  }
  place_tensors(in, *this, offsets, alignment);
}

}  // namespace spnl::modelkit
