#include "spnl/modelkit/chat_template.h"

#include "jinja/budget.h"
#include "jinja/json_input.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

namespace {

constexpr size_t kMaxSource = size_t{4} << 20;
constexpr size_t kMaxMessage = 2000;

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  if (text.size() > kMaxMessage) text.resize(kMaxMessage);
  return text;
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Template tree;
};

ChatTemplate::ChatTemplate(std::string_view source) : impl_(std::make_unique<Impl>()) {
  if (source.size() > kMaxSource) {
    throw Error(ErrorCode::kInvalid, "chat template is longer than 4 MiB");
  }
  try {
    impl_->tree = jinja::Parser(source).parse();
  } catch (const jinja::Failure& f) {
    throw Error(f.code, "chat template: " + one_line(f.message));
  }
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(std::string_view json_object, std::optional<int64_t> now) const {
  std::shared_ptr<jinja::Dict> input;
  try {
    input = jinja::parse_input(json_object);
  } catch (const jinja::Failure& f) {
    throw Error(f.code, "chat template: " + one_line(f.message));
  }
  jinja::BudgetScope budget(jinja::kMaxSteps);
  jinja::Runtime runtime(impl_->tree, *input, now);
  try {
    return runtime.render();
  } catch (const jinja::Failure& f) {
    throw Error(f.code, "chat template line " + std::to_string(runtime.line()) + ": " +
                            one_line(f.message));
  }
}

}  // namespace spnl::modelkit
