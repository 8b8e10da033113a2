#pragma once
/// Writes safetensors files for tests.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf_builder.h"

namespace spnl::test {

class SafetensorsBuilder {
 public:
  std::string metadata;  ///< JSON of "__metadata__"; empty: none

  SafetensorsBuilder& add(const std::string& name, const std::string& dtype,
                          const std::vector<uint64_t>& shape, std::string_view data) {
    std::string dims;
    for (const uint64_t n : shape) dims += (dims.empty() ? "" : ",") + std::to_string(n);
    entries_ += (entries_.empty() ? "\"" : ",\"") + name + R"(":{"dtype":")" + dtype +
                R"(","shape":[)" + dims + R"(],"data_offsets":[)" + std::to_string(data_.size()) +
                "," + std::to_string(data_.size() + data.size()) + "]}";
    data_ += data;
    return *this;
  }
  /// Elements as they lie in memory.
  template <class T>
  SafetensorsBuilder& add_values(const std::string& name, const std::string& dtype,
                                 const std::vector<uint64_t>& shape, const std::vector<T>& values) {
    return add(name, dtype, shape,
               {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
  }

  static std::string file(const std::string& header, std::string_view data) {
    return GgufBuilder::raw<uint64_t>(header.size()) + header + std::string(data);
  }
  std::string bytes() const {
    std::string start = metadata.empty() ? "" : "\"__metadata__\":" + metadata;
    if (!start.empty() && !entries_.empty()) start += ",";
    return file("{" + start + entries_ + "}", data_);
  }

 private:
  std::string entries_, data_;
};

}  // namespace spnl::test
