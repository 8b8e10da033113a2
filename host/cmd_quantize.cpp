// spnl-host quantize: a model as GGUF, in other types.
#include <spnl/modelkit/error.h>
#include <spnl/modelkit/quantize_file.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "command.h"
#include "json_text.h"
#include "local_model.h"
#include "utf8.h"

namespace spnl::host {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostThreads = 1024;

std::string joined_names() {
  std::string out;
  for (const std::string& name : modelkit::quant_mix_names())
    out += (out.empty() ? "" : ", ") + name;
  return out;
}

modelkit::QuantMix wanted_mix(const Arguments& args) {
  if (!args.has("type"))
    throw Error(ErrorCode::kUsage, "no type is given", "command line",
                "give --type, like --type Q4_K_M");
  const auto mix = modelkit::find_quant_mix(*args.get("type"));
  if (!mix)
    throw Error(ErrorCode::kUsage, "'" + *args.get("type") + "' is not a type to quantise to",
                "--type", "give one of " + joined_names());
  return *mix;
}

/// Never the input, whatever --force says, and nothing that is there without it.
void check_output(const fs::path& in, const fs::path& out, bool force) {
  std::error_code ignored;
  if (fs::equivalent(in, out, ignored))
    throw Error(ErrorCode::kUsage, "'" + out.string() + "' is the model that is read", "OUT",
                "give another file");
  if (fs::is_directory(out, ignored))
    throw Error(ErrorCode::kUsage, "'" + out.string() + "' is a folder", "OUT",
                "give a file's name");
  if (!force && fs::exists(fs::symlink_status(out, ignored)))
    throw Error(ErrorCode::kUsage, "'" + out.string() + "' exists", "OUT",
                "give another file, or --force to replace it");
}

std::unique_ptr<modelkit::GgufFile> open_gguf(const fs::path& path) {
  try {
    return modelkit::GgufFile::open(path);
  } catch (const modelkit::Error& error) {
    const bool missing = error.code() == modelkit::ErrorCode::kNotFound;
    throw Error(missing ? ErrorCode::kNotFound : ErrorCode::kNotLoadable, error.what(), "IN");
  }
}

std::string mebibytes(uint64_t bytes) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

bool has_floats(const modelkit::GgufFile& model) {
  using enum modelkit::TensorType;
  return std::all_of(model.tensors().begin(), model.tensors().end(),
                     [](const modelkit::Tensor& tensor) {
                       return tensor.n_dims < 2 || tensor.type == kF32 || tensor.type == kF16 ||
                              tensor.type == kBF16;
                     });
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  if (args.positional().size() != 2)
    throw Error(ErrorCode::kUsage, "a model to read and a file to write are needed", "command line",
                "give IN and OUT.gguf");
  modelkit::QuantizeOptions options;
  options.mix = wanted_mix(args);
  options.threads =
      static_cast<unsigned>(args.unsigned_number("threads", 1, kMostThreads)
                                .value_or(std::max(1u, std::thread::hardware_concurrency())));
  const fs::path in = local_model(args.positional()[0], invocation), out = args.positional()[1];
  check_output(in, out, args.has("force"));
  const auto model = fs::is_directory(in) ? nullptr : open_gguf(in);
  if (model && !has_floats(*model) && options.mix.name != "F32")
    terminal.note("the model is quantised already: what it lost then stays lost");

  invocation.interrupt.graceful();
  options.stop = invocation.interrupt.token();
  uint64_t count = 0, bytes_out = 0;
  options.progress = [&](const modelkit::QuantizeProgress& done) {
    count = done.tensors;
    bytes_out += done.bytes;
    if (terminal.verbose())
      terminal.line("[" + std::to_string(count) + "/" + std::to_string(done.tensors_total) + "] " +
                    without_controls(std::string(done.name)) + "  " +
                    std::string(modelkit::tensor_type_info(done.from)->name) + " -> " +
                    std::string(modelkit::tensor_type_info(done.to)->name));
    terminal.progress("quantising", done.elements, done.elements_total);
  };
  const auto start = std::chrono::steady_clock::now();
  try {
    if (!(model ? modelkit::quantize_gguf(*model, out, options)
                : modelkit::quantize_folder(in, out, options)))
      throw Error(ErrorCode::kInterrupted, "interrupted; nothing was written", out.string());
  } catch (const modelkit::Error& error) {
    const bool loadable = model || error.code() != modelkit::ErrorCode::kUnsupported;
    throw Error(loadable ? ErrorCode::kEvaluation : ErrorCode::kNotLoadable, error.what());
  }
  char seconds[40];
  std::snprintf(seconds, sizeof seconds, "%.1f s",
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  terminal.note("wrote " + out.string() + ": " + std::string(options.mix.name) + ", " +
                std::to_string(count) + " tensors, " + mebibytes(bytes_out) + ", in " + seconds);
  if (args.has("json")) {
    JsonText json;
    json.begin_object().key("path").text(out.string()).key("type").text(options.mix.name);
    json.key("tensors").whole(count).key("tensor_bytes").whole(bytes_out).end_object();
    terminal.result(json.str() + "\n");
  }
  return kExitDone;
}

}  // namespace

Command quantize_command() {
  static const std::string notes =
      "IN: a GGUF file, a folder of Hugging Face's layout, or a name as --model takes it.\n"
      "Types: " +
      joined_names() +
      ".\n"
      "The K types' mixes _S, _M, _L give more bits to some tensors and layers. Vectors, norms and "
      "routers stay as\n"
      "they are. The result is one file that other programs open too; it takes OUT's name only "
      "once it is whole.";
  return {"quantize",
          "Writes a model as GGUF, in other types.",
          "IN OUT.gguf --type Q4_K_M [--threads N] [--force]",
          kGeneral,
          {{"type", 0, "TYPE", "what to quantise to"},
           {"threads", 0, "N", "threads to work with (default: as many as the machine has)"},
           {"force", 0, "", "replace OUT when it exists"}},
          2,
          notes.c_str(),
          run};
}

}  // namespace spnl::host
