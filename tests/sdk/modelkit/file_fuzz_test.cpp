// Seeded mutations of model files of all formats, and files swollen with structure: each is read or
// refused with an Error, and no more memory is allocated at once than twice the files' size and a
// megabyte. SPNL_FUZZ_FILES: how many, for longer runs.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>

#include "allocation_meter.h"
#include "gguf_builder.h"
#include "legacy_builder.h"
#include "safetensors_builder.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/model_bundle.h"
#include "spnl/modelkit/safetensors.h"
#include "spnl/modelkit/weight_finder.h"

using namespace spnl::test;
using namespace spnl::modelkit;

namespace {

constexpr size_t kAllowance = 1 << 20;  // tables of fixed size, and what small files cost

using Random = std::mt19937_64;

/// Changes a few places of the first `header` bytes.
void mutate(std::string& bytes, size_t header, Random& random) {
  const auto below = [&](uint64_t n) { return random() % n; };
  const uint64_t changes = 1 + below(4);
  for (uint64_t i = 0; i < changes; ++i) {
    const size_t at = below(header);
    switch (below(7)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:  // a whole number: large, negative, or small
        if (at + 8 <= bytes.size()) {
          const uint64_t numbers[] = {
              0,          1,           UINT64_MAX, uint64_t{1} << 62, uint64_t{1} << 32,
              0x7FFFFFFF, below(1000), random()};
          std::memcpy(&bytes[at], &numbers[below(8)], below(2) == 0 ? 8 : 4);
        }
        break;
      case 3:
        bytes.resize(std::max<size_t>(at, 1));
        return;
      case 4:
        bytes.erase(at, 1 + below(16));
        break;
      case 5: {  // text that means something in JSON
        static constexpr const char* kWords[] = {"[",    "{",  "\"",   "null", "-1", "99999999999",
                                                 "1e99", "[]", "true", ",",    ":",  "0"};
        bytes.insert(at, kWords[below(std::size(kWords))]);
        break;
      }
      default:
        bytes.insert(at, std::string(1 + below(16), static_cast<char>(below(256))));
        break;
    }
    header = std::min(header, bytes.size());
    if (header == 0) return;
  }
}

/// A model of one format: its files, those to mutate, and what reads them from a folder.
struct Target {
  const char* name;
  std::map<std::string, std::string> files;
  std::vector<std::string> mutated;
  std::function<void(const std::filesystem::path& folder)> read;
  int accepted = 0, refused = 0;
};

volatile unsigned touched = 0;

/// What was accepted can be read to its last byte.
void touch(const TensorSource& tensors) {
  for (const Tensor& tensor : tensors.tensors())
    if (tensor.bytes != 0)
      touched = touched + std::to_integer<unsigned>(tensor.data[tensor.bytes - 1]);
}

void touch(const Weight& weight) {
  std::vector<float> row(weight.columns());
  for (uint64_t r = 0; r < weight.rows(); ++r) weight.read_floats(r, 1, row.data());
  touched = touched + static_cast<unsigned>(row[0] > 0);
}

std::string tiny_gguf() {
  GgufBuilder gguf = tiny_llama();
  gguf.string("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
  return gguf.bytes();
}

/// Linear layers of every packing, of 64 inputs and 32 outputs; contents do not matter here.
std::string packed_layers() {
  const auto zeros = [](size_t bytes) { return std::string(bytes, '\0'); };
  const std::string state = R"({"blocksize":64,"shape":[32,64],"nested_blocksize":256})";
  SafetensorsBuilder file;
  file.metadata = R"({"format":"pt"})";
  file.add("gptq.qweight", "I32", {8, 32}, zeros(1024))
      .add("gptq.qzeros", "I32", {2, 4}, zeros(32));
  file.add("gptq.scales", "F16", {2, 32}, zeros(128)).add("gptq.g_idx", "I32", {64}, zeros(256));
  file.add("ct.weight_packed", "I32", {32, 8}, zeros(1024));
  file.add("ct.weight_scale", "BF16", {32, 2}, zeros(128));
  file.add("ct.weight_zero_point", "I32", {4, 2}, zeros(32));
  file.add("fp8.weight", "F8_E4M3", {32, 64}, zeros(2048));
  file.add("fp8.weight_scale_inv", "F32", {1, 1}, zeros(4));
  file.add("bnb.weight", "U8", {1024, 1}, zeros(1024))
      .add("bnb.weight.absmax", "U8", {32}, zeros(32));
  file.add("bnb.weight.quant_map", "F32", {16}, zeros(64));
  file.add("bnb.weight.nested_absmax", "F32", {1}, zeros(4));
  file.add("bnb.weight.nested_quant_map", "F32", {256}, zeros(1024));
  file.add("bnb.weight.quant_state.bitsandbytes__nf4", "U8", {state.size()}, state);
  return file.bytes();
}

constexpr const char* kLlamaConfig = R"({"architectures":["LlamaForCausalLM"],"model_type":"llama",
  "hidden_size":8,"intermediate_size":16,"num_hidden_layers":1,"num_attention_heads":2,
  "num_key_value_heads":1,"head_dim":4,"vocab_size":16,"max_position_embeddings":64,
  "rms_norm_eps":1e-5,"rope_theta":10000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,
  "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32},
  "tie_word_embeddings":true,"eos_token_id":[2],"bos_token_id":1})";

constexpr const char* kTokenizer = R"({"version":"1.0","added_tokens":[
  {"id":0,"content":"<unk>","special":true,"lstrip":false,"rstrip":false,"normalized":false,"single_word":false},
  {"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}],
  "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"}]},
  "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
  {"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]},
  "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
  {"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
  "decoder":{"type":"ByteLevel"},
  "model":{"type":"BPE","unk_token":"<unk>","byte_fallback":false,
  "vocab":{"<unk>":0,"<s>":1,"</s>":2,"a":3,"b":4,"ab":5,"c":6},"merges":["a b"]}})";

std::string llama_tensors() {
  const auto zeros = [](size_t elements) { return std::string(elements * 4, '\0'); };
  SafetensorsBuilder file;
  file.add("model.embed_tokens.weight", "F32", {16, 8}, zeros(128));
  file.add("model.norm.weight", "F32", {8}, zeros(8));
  const std::string layer = "model.layers.0.";
  file.add(layer + "input_layernorm.weight", "F32", {8}, zeros(8));
  file.add(layer + "post_attention_layernorm.weight", "F32", {8}, zeros(8));
  file.add(layer + "self_attn.q_proj.weight", "F32", {8, 8}, zeros(64));
  file.add(layer + "self_attn.k_proj.weight", "F32", {4, 8}, zeros(32));
  file.add(layer + "self_attn.v_proj.weight", "F32", {4, 8}, zeros(32));
  file.add(layer + "self_attn.o_proj.weight", "F32", {8, 8}, zeros(64));
  file.add(layer + "mlp.gate_proj.weight", "F32", {16, 8}, zeros(128));
  file.add(layer + "mlp.up_proj.weight", "F32", {16, 8}, zeros(128));
  file.add(layer + "mlp.down_proj.weight", "F32", {8, 16}, zeros(128));
  return file.bytes();
}

std::vector<Target> targets() {
  const auto open_file = [](const char* name) {
    return [name](const std::filesystem::path& folder) { touch(*GgufFile::open(folder / name)); };
  };
  const auto open_bundle = [](const char* name) {
    return [name](const std::filesystem::path& folder) {
      touch(*open_model(folder / name, {}).tensors);
    };
  };
  const auto open_vocabulary = [](const std::filesystem::path& folder) {
    touched = touched + static_cast<unsigned>(tokenizer_from_folder(folder)->vocab_size());
  };
  const auto open_layers = [](const std::filesystem::path& folder) {
    const auto tensors = SafetensorsFolder::open(folder);
    touch(*tensors);
    const WeightFinder finder(*tensors, Config::read(folder / "config.json"));
    int found = 0;
    std::optional<Error> refusal;
    for (const char* stem : {"gptq", "ct", "fp8", "bnb"}) try {
        touch(finder.linear(stem, 64, 32));
        ++found;
      } catch (const Error& error) {
        refusal = error;
      }
    if (found < 4) throw *refusal;
  };
  const std::string quantization =
      R"({"quantization_config":{"quant_method":"gptq","bits":4,"group_size":32,"sym":true,)"
      R"("checkpoint_format":"gptq","weight_block_size":[128,128]}})";
  const std::string index =
      R"({"metadata":{"total_size":1},"weight_map":{"a":"layers.safetensors","b":"layers.safetensors"}})";
  const std::map<std::string, std::string> folder = {
      {"config.json", kLlamaConfig},
      {"model.safetensors", llama_tensors()},
      {"tokenizer.json", kTokenizer},
      {"tokenizer_config.json",
       R"({"bos_token":"<s>","eos_token":{"content":"</s>"},"chat_template":"{{ messages[0].content }}"})"},
      {"generation_config.json", R"({"eos_token_id":[2,5]})"},
      {"chat_template.json", R"({"chat_template":"{{ messages[0].content }}"})"},
      {"quantize_config.json", R"({"bits":4,"group_size":128})"},
      {"special_tokens_map.json", R"({"bos_token":"<s>","additional_special_tokens":["</s>"]})"},
      {"added_tokens.json", R"({"<extra>":7})"}};
  const std::string tekken =
      R"({"config":{"pattern":"[a-z]+|.","default_num_special_tokens":3,"default_vocab_size":5},)"
      R"("vocab":[{"rank":0,"token_bytes":"YQ==","token_str":"a"},{"rank":1,"token_bytes":"Yg=="}]})";
  const std::map<std::string, std::string> byte_folder = {{"tekken.json", tekken},
                                                          {"params.json", "{}"}};
  std::vector<std::string> all;
  for (const auto& [name, bytes] : folder) all.push_back(name);
  const std::string gguf = tiny_gguf();
  return {{"gguf", {{"m.gguf", gguf}}, {"m.gguf"}, open_file("m.gguf")},
          {"gguf model", {{"m.gguf", gguf}}, {"m.gguf"}, open_bundle("m.gguf")},
          {"ggml", {{"m", legacy_llama("lmgg", 0)}}, {"m"}, open_file("m")},
          {"ggjt", {{"m", legacy_llama("tjgg", 3, 2)}}, {"m"}, open_file("m")},
          {"packed layers",
           {{"model.safetensors", packed_layers()}, {"config.json", quantization}},
           {"model.safetensors", "model.safetensors", "config.json"},
           open_layers},
          {"index",
           {{"model.safetensors.index.json", index},
            {"layers.safetensors", packed_layers()},
            {"config.json", quantization}},
           {"model.safetensors.index.json"},
           open_layers},
          {"folder", folder, all, open_bundle("")},
          {"tekken", byte_folder, {"tekken.json"}, open_vocabulary}};
}

int files_to_try() {
  const char* given = std::getenv("SPNL_FUZZ_FILES");
  return given == nullptr ? 7000 : std::atoi(given);
}

/// How many bytes of a file are worth changing: its header, not the weights.
size_t header_of(const std::string& name, const std::string& bytes) {
  if (name.ends_with(".safetensors")) {
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    return 8 + header;
  }
  return name.ends_with(".json") ? bytes.size() : std::min<size_t>(bytes.size(), 12000);
}

/// Reads the model, or sees it refused in one line. Returns the most bytes that this took at once.
size_t read_counted(Target& target, const std::filesystem::path& folder) {
  AllocationMeter::reset();
  try {
    target.read(folder);
    ++target.accepted;
  } catch (const Error& error) {
    BOOST_TEST_REQUIRE(std::string_view(error.what()).find('\n') == std::string_view::npos,
                       error.what());
    ++target.refused;
  }
  return AllocationMeter::peak();
}

size_t size_of(const std::filesystem::path& folder) {
  size_t size = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) size += file.file_size();
  return size;
}

std::string repeated(std::string_view part) {
  std::string all;
  while (all.size() < (3 << 20)) all += part;
  return all;
}

/// Members of a JSON object that have much structure for their size, each with a comma after it.
std::vector<std::string> swollen_members() {
  std::vector<std::string> members;
  for (const char* part : {"[],", "{},", "1,", "\"\",", "[[[[[[]]]]]],", "{\"a\":{\"a\":0}},"})
    members.push_back("\"x\":[" + repeated(part) + "0],");
  for (const char* part : {"\"a\":{},", "\"\":0,", "\"a\":[0],"})
    members.push_back("\"x\":{" + repeated(part) + "\"a\":0},");
  members.push_back(repeated("\"a\":{},"));
  members.push_back("\"" + repeated("k") + "\":0,");
  members.push_back("\"" + repeated("\\u0041") + "\":\"" + repeated("\\n") + "\",");
  std::string nested = "\"x\":";
  for (int i = 0; i < 50; ++i) nested += "[\"" + std::string(60 << 10, 'a') + "\",";
  members.push_back(nested + "0" + std::string(50, ']') + ",");
  return members;
}

/// The file with `inside` after the first occurrence of `after`.
std::string swollen(std::string file, std::string_view after, const std::string& inside) {
  const size_t at = file.find(after);
  BOOST_REQUIRE(at != file.npos);
  file.insert(at + after.size(), inside);
  if (file[0] == '{') return file;
  uint64_t header = 0;  // of safetensors
  std::memcpy(&header, file.data(), sizeof header);
  header += inside.size();
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

/// Elements of the lists of a tokenizer that are many for their size.
std::vector<std::pair<std::string, std::string>> swollen_lists() {
  std::string vocab;
  for (int id = 16; vocab.size() < (3 << 20); ++id) {
    char name[16];
    std::snprintf(name, sizeof name, "%05x", id);
    vocab += "\"" + std::string(name) + "\":" + std::to_string(id) + ",";
  }
  return {{"\"vocab\":{", vocab},
          {"\"merges\":[", repeated("\"a b\",")},
          {"\"added_tokens\":[", repeated("{\"content\":\"<x>\"},")},
          {"\"added_tokens\":[", repeated("{},")},
          {"\"normalizers\":[", repeated("{\"type\":\"NFC\"},")},
          {"\"pretokenizers\":[", repeated("{\"type\":\"Digits\"},")},
          {"\"ids\":[", repeated("1,")}};
}

std::string tiny_tensors() {
  std::string all;
  for (int i = 0; all.size() < (3 << 20); ++i)
    all += "\"" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},";
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(files_swollen_with_structure) {
  std::vector<Target> all = targets();
  const auto members = swollen_members();
  for (Target& target : all) {
    const TempDir temp;
    for (const auto& [name, bytes] : target.files) temp.write(name, bytes);
    const auto try_file = [&](const std::string& name, const std::string& bytes) {
      temp.write(name, bytes);
      const size_t peak = read_counted(target, temp.path());
      const size_t most = 2 * size_of(temp.path()) + kAllowance;
      BOOST_TEST(peak <= most, target.name << ", " << name << " of " << bytes.substr(0, 60)
                                           << "...: " << peak
                                           << " bytes at once instead of at most " << most);
    };
    for (const auto& [name, whole] : target.files) {
      if (whole[0] != '{' && !name.ends_with(".safetensors")) continue;
      for (const std::string& member : members) try_file(name, swollen(whole, "{", member));
      if (name == "tokenizer.json")
        for (const auto& [list, elements] : swollen_lists())
          try_file(name, swollen(whole, list, elements));
      if (name.ends_with(".safetensors")) try_file(name, swollen(whole, "{", tiny_tensors()));
      temp.write(name, whole);
    }
  }
}

BOOST_AUTO_TEST_CASE(mutated_files) {
  Random random(20240607);
  std::vector<Target> all = targets();
  const TempDir temp;
  for (Target& target : all) {
    std::filesystem::create_directory(temp.path() / target.name);
    for (const auto& [name, bytes] : target.files)
      temp.write(std::string(target.name) + "/" + name, bytes);
    // Whole, each can be read.
    BOOST_REQUIRE_NO_THROW(target.read(temp.path() / target.name));
  }
  for (int i = 0; i < files_to_try(); ++i) {
    Target& target = all[static_cast<size_t>(i) % all.size()];
    const std::filesystem::path folder = temp.path() / target.name;
    const std::string& name = target.mutated[random() % target.mutated.size()];
    const std::string& whole = target.files[name];
    std::string bytes = whole;
    mutate(bytes, header_of(name, whole), random);
    temp.write(std::string(target.name) + "/" + name, bytes);
    const size_t peak = read_counted(target, folder);
    const size_t most = 2 * size_of(folder) + kAllowance;
    BOOST_TEST_REQUIRE(peak <= most, target.name << ", file " << i << ": " << peak
                                                 << " bytes at once instead of at most " << most);
    temp.write(std::string(target.name) + "/" + name, whole);
  }
  for (const Target& target : all) {
    BOOST_TEST_MESSAGE(target.name << ": accepted " << target.accepted << ", refused "
                                   << target.refused);
    // Both ways are taken, or the mutations test nothing.
    const int tried = target.accepted + target.refused;
    BOOST_TEST(target.accepted > tried / 50);
    BOOST_TEST(target.refused > tried / 5);
  }
}
