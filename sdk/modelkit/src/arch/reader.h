#pragma once
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "names.h"
#include "rope.h"
#include "spnl/modelkit/config.h"
#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {

/// Is told what an architecture asks for in one layout, with the answers, so that it can be written
/// in the other. Numbers are told as they count: the file's or the default.
class ReadObserver {
 public:
  virtual ~ReadObserver() = default;
  virtual void flag(Name key, bool value) = 0;
  virtual void whole(Name key, uint32_t value) = 0;
  virtual void whole_of_layer(Name key, uint32_t layer, uint32_t value) = 0;
  virtual void real(Name key, double value) = 0;
  /// `stem` is what the file calls the module that GGUF files call `gguf`.
  virtual void stem(const std::string& stem, const std::string& gguf) = 0;
  virtual void tensor(const std::string& name, const Weight& weight) = 0;
  virtual void rope(const RopeStyle& style, const RopeParameters& parameters,
                    std::string_view layer_kind) = 0;
};

/// Reads the numbers and weights of one model, whatever its layout: an architecture is written once
/// for all. Every answer is checked: numbers fit and are finite, tensors exist with the wanted
/// shape in a type that can be decoded. Throws Error naming file and key or tensor.
class ModelReader {
 public:
  virtual ~ModelReader() = default;
  void observe(ReadObserver& observer) { observer_ = &observer; }  ///< which must outlive this
  virtual bool is_gguf() const = 0;
  virtual const std::string& architecture() const = 0;  ///< as the file names it
  virtual std::string model_name() const = 0;           ///< for people; may be empty

  // Numbers. Those that count something are at least 1 and below 2^31.
  uint32_t uint(Name key) const;
  uint32_t uint_or(Name key, uint32_t absent) const;
  std::optional<uint32_t> find_uint(Name key) const;  ///< may be 0
  /// One number for all layers, or a list with one for each.
  uint32_t uint_of_layer(Name key, uint32_t layer, std::optional<uint32_t> absent) const;
  double positive_or(Name key, double absent) const;  ///< finite and above 0
  bool flag_or(Name key, bool absent) const;
  std::string text(Name key) const;  ///< empty when absent
  virtual bool has_key(Name key) const = 0;
  virtual bool is_null(Name key) const = 0;  ///< the file says "none" rather than nothing
  virtual std::optional<std::vector<uint64_t>> find_list(
      Name key) const = 0;  ///< of numbers or flags

  /// The window of each layer, 0 for none, where a layer whose number + 1 is a multiple of `period`
  /// has none unless the file says otherwise; 0: all slide. `absent`: the window where the file
  /// does not speak of it.
  std::vector<uint32_t> windows(uint32_t layers, uint32_t period, uint32_t absent) const;

  /// Rotary embedding of heads of this size, of layers of the kind "full_attention" or
  /// "sliding_attention".
  RopeParameters rope_parameters(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                                 std::string_view layer_kind) const;
  RopeSpec rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                std::string_view layer_kind = "full_attention") const;

  // Weights, by the names of their modules.
  std::string stem(Name name) const;  ///< without ".weight"
  std::string stem(uint32_t layer, Name name) const;
  virtual bool has_linear(const std::string& stem) const = 0;
  virtual const Tensor* find_tensor(
      const std::string& name) const = 0;  ///< null when there is none
  bool has_tensor(const std::string& name) const { return find_tensor(name) != nullptr; }
  Weight matrix(const std::string& stem, uint64_t in, uint64_t out) const;
  /// A tensor with exactly these dimensions, innermost first.
  Weight tensor(const std::string& name, std::initializer_list<uint64_t> dims) const;
  Weight optional_tensor(const std::string& name, std::initializer_list<uint64_t> dims) const;
  Linear linear(const std::string& stem, uint64_t in,
                uint64_t out) const;  ///< with its bias, if it has one
  virtual uint64_t tensor_count() const = 0;
  virtual bool is_tied(bool absent) const = 0;  ///< the head is the embedding

  virtual std::string describe(Name key) const = 0;  ///< how messages name a key
  [[noreturn]] void corrupt(const std::string& why) const;
  [[noreturn]] void unsupported(const std::string& why) const;

 protected:
  virtual std::optional<uint64_t> number(Name key) const = 0;
  virtual std::optional<double> real(Name key) const = 0;
  virtual std::optional<bool> flag(Name key) const = 0;
  virtual std::optional<std::string> string(Name key) const = 0;
  /// For each layer, whether it slides; empty when the file does not say.
  virtual std::vector<bool> sliding_layers(uint32_t layers) const = 0;
  virtual std::string path() const = 0;

  virtual RopeParameters read_rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                                   std::string_view layer_kind) const = 0;
  virtual std::string name_stem(Name name) const = 0;
  virtual std::string name_stem(uint32_t layer, Name name) const = 0;
  virtual Weight read_matrix(const std::string& stem, uint64_t in, uint64_t out) const = 0;
  virtual Weight read_tensor(const std::string& name,
                             std::initializer_list<uint64_t> dims) const = 0;

 private:
  ReadObserver* observer_ = nullptr;
};

std::unique_ptr<ModelReader> make_reader(const GgufFile& file, const std::string& architecture);

/// `config`: the whole of config.json; `architecture`: the model_type of its text model.
std::unique_ptr<ModelReader> make_reader(const TensorSource& tensors, const Config& config,
                                         const std::string& architecture);

}  // namespace spnl::modelkit
