// spnl-host tokenize: text or a chat as the token ids that a model would read.
#include "command.h"
#include "input.h"
#include "json_text.h"
#include "model_options.h"

namespace spnl::host {
namespace {

Chat read_source(const Arguments& args) {
  bool no_special = args.has("no-special");
  int sources =
      (args.has("text") ? 1 : 0) + (args.has("file") ? 1 : 0) + (args.has("messages") ? 1 : 0);
  if (sources != 1)
    throw Error(ErrorCode::kUsage, "nothing to tokenize, or more than one thing", "command line",
                "give one of --text, --file, --messages");
  Chat chat;
  if (args.has("messages"))
    chat = read_chat(read_text(*args.get("messages"), "--messages"), *args.get("messages"));
  else
    chat.prompt = raw_prompt(
        args.has("text") ? *args.get("text") : read_text(*args.get("file"), "--file"), !no_special);
  chat.options.no_special = no_special;
  return chat;
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  std::string name = required_model(args);
  LoadOptions load = load_options(args);
  load.options["vocab_only"] = "true";
  Chat chat = read_source(args);
  Backends backends(backends_options(args, invocation.terminal));
  std::shared_ptr<Model> model = backends.load(name, load, invocation.interrupt.token());
  std::vector<int32_t> ids = model->tokenize(chat.prompt, chat.options);
  std::vector<std::string> pieces;
  for (int32_t id : ids) pieces.push_back(model->detokenize({id}));

  if (args.has("json")) {
    JsonText json;
    json.begin_object().key("ids").ids(ids).key("pieces").texts(pieces).end_object();
    invocation.terminal.result(json.str() + "\n");
    return kExitDone;
  }
  std::string out;
  for (size_t i = 0; i < ids.size(); ++i) {
    JsonText piece;  // quoted, so that spaces and newlines are seen
    out += std::to_string(ids[i]) + "\t" + piece.text(pieces[i]).str() + "\n";
  }
  invocation.terminal.result(out);
  return kExitDone;
}

}  // namespace

Command tokenize_command() {
  return {"tokenize",
          "Shows the token ids of a text or a chat.",
          "--model M (--text T | --file F | --messages F.json) [--no-special] [--json]",
          kGeneral | kBackend | kModel,
          {{"text", 0, "T", "text as it stands, without chat template"},
           {"file", 0, "F", "the same from a file; - reads standard input"},
           {"messages", 0, "F.json",
            "a chat: [{\"role\": \"user\", \"content\": \"...\"}], or an object with \"messages\""},
           {"no-special", 0, "", "add no bos or eos, and read control tokens as text"}},
          0,
          "Needs a vocabulary only: a GGUF without tensors will do.",
          run};
}

}  // namespace spnl::host
