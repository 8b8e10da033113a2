#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

class JsonFile;
class JsonValue;

/// A JSON object of a model folder (config.json, tokenizer_config.json, ...) with checked, typed
/// look-ups. A cheap handle to shared, constant data: copies are free, const use is thread-safe. A
/// member that is null counts as absent.
class Config {
 public:
  /// Throws Error: kNotFound, kIo, kCorrupt (no JSON object, nested too deeply), kUnsupported (too
  /// large).
  static Config read(const std::filesystem::path& file);
  /// `file`: for messages only.
  static Config parse(std::string_view json, const std::filesystem::path& file);

  bool has(std::string_view key) const;      ///< there and not null
  bool is_null(std::string_view key) const;  ///< there and null: some keys say "none" in this way

  /// Typed look-ups: nullopt when absent, Error(kCorrupt) naming file and key when the value has
  /// another type or does not fit.
  std::optional<uint64_t> get_uint(std::string_view key) const;
  std::optional<double> get_float(std::string_view key) const;  ///< any number; finite
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string> get_string(std::string_view key) const;
  std::optional<std::vector<uint64_t>> get_uints(std::string_view key) const;
  std::optional<std::vector<double>> get_floats(std::string_view key) const;
  std::optional<std::vector<bool>> get_bools(std::string_view key) const;
  std::optional<std::vector<std::string>> get_strings(std::string_view key) const;
  std::optional<Config> get_object(
      std::string_view key) const;  ///< "rope_parameters", "text_config", ...

  /// For keys that may hold one thing or a list of them.
  bool is_list(std::string_view key) const;
  bool is_object(std::string_view key) const;
  std::vector<std::string> keys() const;  ///< those that are not null, in the file's order

  const std::filesystem::path& path() const;  ///< the file
  /// "config.json: 'rope_parameters.factor'": how messages name a key.
  std::string describe(std::string_view key) const;
  [[noreturn]] void corrupt(std::string_view key, const std::string& why) const;
  [[noreturn]] void unsupported(std::string_view key, const std::string& why) const;

 private:
  struct Document;
  Config(const std::filesystem::path& file, std::unique_ptr<const JsonFile> json);
  Config(std::shared_ptr<const Document> document, const JsonValue& object, std::string prefix);

  std::shared_ptr<const Document> document_;
  std::shared_ptr<const JsonValue> object_;  ///< in document_
  std::string prefix_;                       ///< "rope_parameters." for a nested object
};

}  // namespace spnl::modelkit
