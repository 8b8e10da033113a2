#include "spnl/modelkit/gguf.h"

#include <cstdio>

#include "gguf_part.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

struct GgufFile::Impl {
  std::filesystem::path path;
  std::vector<GgufPart> parts;  // the first has the metadata
  std::vector<Tensor> tensors;
  std::unordered_map<std::string_view, size_t> index;

  [[noreturn]] void corrupt(const std::string& why) const {
    throw Error(ErrorCode::kCorrupt, path.string() + ": " + why);
  }
  [[noreturn]] void wrong_type(std::string_view key, const char* wanted) const {
    corrupt("the value of '" + printable(key) + "' is not " + wanted);
  }

  void add_part(const std::filesystem::path& part_path);
  void add_other_parts(uint64_t count);
};

namespace {

std::optional<uint64_t> unsigned_value(const GgufPart& part, std::string_view key) {
  const auto found = part.values.find(key);
  if (found == part.values.end()) return std::nullopt;
  if (const auto* u = std::get_if<uint64_t>(&found->second)) return *u;
  if (const auto* i = std::get_if<int64_t>(&found->second); i != nullptr && *i >= 0)
    return static_cast<uint64_t>(*i);
  return std::nullopt;
}

/// "-00002-of-00003.gguf"; numbers count from 1.
std::string part_ending(uint64_t number, uint64_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05llu-of-%05llu.gguf",
                static_cast<unsigned long long>(number), static_cast<unsigned long long>(count));
  return text;
}

}  // namespace

void GgufFile::Impl::add_part(const std::filesystem::path& part_path) {
  const GgufPart& part = parts.emplace_back(part_path);
  for (const Tensor& tensor : part.tensors) {
    if (!index.emplace(tensor.name, tensors.size()).second)
      corrupt("tensor '" + printable(tensor.name) + "' is in two parts");
    tensors.push_back(tensor);
  }
}

void GgufFile::Impl::add_other_parts(uint64_t count) {
  const std::string name = path.filename().string();
  const std::string ending = part_ending(1, count);
  if (unsigned_value(parts[0], "split.no").value_or(0) != 0)
    corrupt("a later part of a split model; give the first part, whose name ends in " + ending);
  if (!name.ends_with(ending))
    corrupt("the first of " + std::to_string(count) + " parts, but its name does not end in " +
            ending + ", so the other parts cannot be found");
  const std::string stem = name.substr(0, name.size() - ending.size());
  for (uint64_t number = 2; number <= count; ++number) {
    const std::filesystem::path part_path =
        path.parent_path() / (stem + part_ending(number, count));
    add_part(part_path);
    if (unsigned_value(parts.back(), "split.no") != number - 1 ||
        unsigned_value(parts.back(), "split.count") != count)
      throw Error(ErrorCode::kCorrupt, part_path.string() + ": is not part " +
                                           std::to_string(number) + " of " + std::to_string(count) +
                                           " of this model");
  }
  const auto total = unsigned_value(parts[0], "split.tensors.count");
  if (total && *total != tensors.size())
    corrupt("its parts hold " + std::to_string(tensors.size()) + " tensors instead of " +
            std::to_string(*total));
}

std::unique_ptr<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->add_part(path);
  const uint64_t count = unsigned_value(impl->parts[0], "split.count").value_or(1);
  if (count > 1) impl->add_other_parts(count);
  return std::unique_ptr<GgufFile>(new GgufFile(std::move(impl)));
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::~GgufFile() = default;

const std::vector<GgufFile::RawValue>& GgufFile::raw_values() const {
  return impl_->parts[0].raw_values;
}

const GgufFile::Value* GgufFile::find_value(std::string_view key) const {
  const auto& values = impl_->parts[0].values;
  const auto found = values.find(key);
  return found == values.end() ? nullptr : &found->second;
}

std::optional<uint64_t> GgufFile::get_uint(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* u = std::get_if<uint64_t>(value)) return *u;
  if (const auto* i = std::get_if<int64_t>(value); i != nullptr && *i >= 0)
    return static_cast<uint64_t>(*i);
  impl_->wrong_type(key, "a number from 0 on");
}

std::optional<double> GgufFile::get_float(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* d = std::get_if<double>(value)) return *d;
  if (const auto* u = std::get_if<uint64_t>(value)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<int64_t>(value)) return static_cast<double>(*i);
  impl_->wrong_type(key, "a number");
}

std::optional<bool> GgufFile::get_bool(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* b = std::get_if<bool>(value)) return *b;
  impl_->wrong_type(key, "true or false");
}

std::optional<std::string_view> GgufFile::get_string(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* s = std::get_if<std::string_view>(value)) return *s;
  impl_->wrong_type(key, "a string");
}

std::optional<std::span<const std::string_view>> GgufFile::get_strings(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<std::string_view>>(value)) return std::span(*list);
  impl_->wrong_type(key, "a list of strings");
}

std::optional<std::span<const int64_t>> GgufFile::get_ints(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<int64_t>>(value)) return std::span(*list);
  impl_->wrong_type(key, "a list of integers");
}

std::optional<std::string> GgufFile::get_bytes(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* bytes = std::get_if<std::string_view>(value)) return std::string(*bytes);
  const auto* list = std::get_if<std::vector<int64_t>>(value);
  if (list == nullptr) impl_->wrong_type(key, "a list of bytes");
  std::string bytes;
  for (const int64_t byte : *list) bytes += static_cast<char>(byte);
  return bytes;
}

std::optional<std::span<const double>> GgufFile::get_floats(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<double>>(value)) return std::span(*list);
  impl_->wrong_type(key, "a list of numbers");
}

const Tensor* GgufFile::find(std::string_view name) const {
  const auto found = impl_->index.find(name);
  return found == impl_->index.end() ? nullptr : &impl_->tensors[found->second];
}

const std::vector<Tensor>& GgufFile::tensors() const { return impl_->tensors; }
const std::filesystem::path& GgufFile::path() const { return impl_->path; }

}  // namespace spnl::modelkit
