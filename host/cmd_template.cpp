// spnl-host template: a chat as the text that a model would read.
#include <spnl/modelkit/chat_template.h>
#include <spnl/modelkit/error.h>

#include "command.h"
#include "input.h"
#include "json_text.h"
#include "model_options.h"

namespace spnl::host {
namespace {

std::string render_file(const std::string& template_path, const std::string& json,
                        const std::string& source) {
  check_json(
      json,
      source);  // bad input is bad usage; what the template itself refuses is a failed evaluation
  std::string text = read_text(template_path, "--template");
  try {
    return modelkit::ChatTemplate(text).render(json);
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
  if (!args.has("input"))
    throw Error(ErrorCode::kUsage, "no chat is given", "command line",
                "give --input F.json, or --input -");
  std::string source = *args.get("input");
  std::string json = read_text(source, "--input");
  std::string text = with_template ? render_file(*args.get("template"), json, source)
                                   : render_with_model(invocation, json, source);
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
        "{\"messages\": [...], \"add_generation_prompt\": true, ...}; - reads standard input"}},
      0,
      "With --model the input may hold messages, tools and add_generation_prompt (default true).\n"
      "Exits 1 when the template refuses the chat.",
      run};
}

}  // namespace spnl::host
