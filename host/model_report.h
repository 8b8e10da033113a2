#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spnl::host {

/// What a model's files say about it, without loading it.
struct ModelReport {
  struct File {
    std::string name;
    uint64_t bytes = 0;
  };
  struct TypeShare {
    std::string type;
    uint64_t tensors = 0, bytes = 0;
  };
  struct Number {
    const char* name;
    uint64_t value;
  };

  std::filesystem::path path;
  std::string format;  ///< "GGUF", "safetensors"
  std::vector<File> files;
  std::string architecture, name, quantisation;
  uint64_t parameters = 0;       ///< elements of all tensors
  std::vector<TypeShare> types;  ///< the largest share first
  std::vector<Number> sizes;     ///< layers, hidden_size, ...; what is not known is not there

  std::string tokenizer;  ///< its kind; empty: none that can be read
  int64_t vocab_size = 0;
  std::optional<int32_t> bos, eos;
  std::vector<int32_t> end_of_generation;
  bool has_template = false;
  std::string template_line;  ///< the first that is not empty, if it is to be had

  uint64_t weight_bytes = 0;
  std::optional<uint64_t> cache_bytes_per_token;  ///< keys and values in float16
  std::vector<std::string> problems;              ///< why it would not run
};

/// `path`: a GGUF file or a model's folder. Throws modelkit::Error when there is nothing to read;
/// all else that is amiss goes to `problems`.
ModelReport report_model(const std::filesystem::path& path);

}  // namespace spnl::host
