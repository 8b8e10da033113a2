// spnl-host template: a chat as the text that a model would read.
#include <spnl/modelkit/chat_template.h>
#include <spnl/modelkit/error.h>

#include <charconv>

#include "command.h"
#include "input.h"
#include "json_text.h"
#include "model_options.h"

namespace spnl::host {
namespace {

constexpr uint64_t kLastSecond = 253402300799;  // the end of the year 9999

/// Template files are rendered to look at them or to compare them, so the same input gives the same
/// text on any day: 2025-02-03 04:05:06 UTC, the date of the renderings we are tested against.
constexpr int64_t kRenderingDate = 1738555506;

/// What the template's strftime_now() is to tell: --now, else SOURCE_DATE_EPOCH, else a fixed date.
int64_t rendering_time(const Arguments& args) {
  if (auto now = args.unsigned_number("now", 0, kLastSecond)) return static_cast<int64_t>(*now);
  std::optional<std::string> text = environment("SOURCE_DATE_EPOCH");
  if (!text) return kRenderingDate;
  uint64_t seconds = 0;
  auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  if (problem != std::errc() || end != text->data() + text->size() || seconds > kLastSecond)
    throw Error(ErrorCode::kUsage, "'" + *text + "' is not a number of seconds since 1970",
                "SOURCE_DATE_EPOCH", "write digits only");
  return static_cast<int64_t>(seconds);
}

std::string render_file(const Arguments& args, const std::string& json, const std::string& source) {
  std::string template_path = *args.get("template");
  int64_t now = rendering_time(args);
  check_json(
      json,
      source);  // bad input is bad usage; what the template itself refuses is a failed evaluation
  std::string text = read_text(template_path, "--template");
  try {
    return modelkit::ChatTemplate(text).render(json, now);
  } catch (const modelkit::Error& error) {
    throw Error(ErrorCode::kEvaluation, error.what(), template_path);
  }
}

std::string render_with_model(Invocation& invocation, const std::string& json,
                              const std::string& source) {
  const Arguments& args = invocation.args;
  LoadOptions load = load_options(args);
  load.options["vocab_only"] = "true";
  Chat chat = read_chat(json, source);
  Backends backends(backends_options(args, invocation.terminal));
  std::shared_ptr<Model> model =
      backends.load(required_model(args), load, invocation.interrupt.token());
  return model->render(chat.prompt, chat.options);
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  bool with_template = args.has("template"), with_model = args.has("model");
  if (with_template == with_model)
    throw Error(ErrorCode::kUsage, "a template is needed, from one place", "command line",
                "give --model or --template");
  if (with_model && args.has("now"))
    throw Error(ErrorCode::kUsage, "a model's own template tells the clock's time", "--now",
                "give --template with it");
  if (!args.has("input"))
    throw Error(ErrorCode::kUsage, "no chat is given", "command line",
                "give --input F.json, or --input -");
  std::string source = *args.get("input");
  std::string json = read_text(source, "--input");
  std::string text =
      with_template ? render_file(args, json, source) : render_with_model(invocation, json, source);
  if (args.has("json")) {
    JsonText out;
    out.begin_object().key("text").text(text).end_object();
    text = out.str() + "\n";
  } else if (invocation.terminal.output_is_terminal() && !text.empty() && text.back() != '\n') {
    text += '\n';  // piped, the bytes are the prompt alone
  }
  invocation.terminal.result(text);
  return kExitDone;
}

}  // namespace

Command template_command() {
  return {
      "template",
      "Renders a chat with a chat template.",
      "(--model M | --template F.jinja) --input F.json",
      kGeneral | kBackend | kModel,
      {{"template", 0, "F.jinja",
        "a template's file; every member of the input's object is its variable"},
       {"input", 0, "F.json",
        "{\"messages\": [...], \"add_generation_prompt\": true, ...}; - reads standard input"},
       {"now", 0, "SECONDS",
        "seconds since 1970 (UTC) that strftime_now() tells (default: a day in 2025)"}},
      0,
      "With --template the date is fixed, so that renderings can be compared: SOURCE_DATE_EPOCH "
      "stands for\n"
      "--now where that is not given. A model's own template tells the clock's date.\n"
      "With --model the input may hold messages, tools and add_generation_prompt (default true).\n"
      "Exits 1 when the template refuses the chat.",
      run};
}

}  // namespace spnl::host
