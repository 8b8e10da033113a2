#include <algorithm>

#include "ir/data.h"
#include "spnl/print.h"
#include "util/text.h"

namespace spnl {
namespace {

constexpr int kDeepestIndent = 40;  // deeper lines stay there, or a deep tree would print as spaces

class JsonSink final : public ir::DataSink {
 public:
  explicit JsonSink(int indent) : indent_(std::max(indent, 0)) {}
  std::string take() { return std::move(out_); }

  void begin_map(size_t) override { begin('{'); }
  void end_map() override { end('}'); }
  void begin_list(size_t) override { begin('['); }
  void end_list() override { end(']'); }
  void key(std::string_view name) override {
    separate();
    out_ += text::quote_json(name) + (indent_ > 0 ? ": " : ":");
    after_key_ = true;
  }
  void text(std::string_view text) override {
    separate();
    out_ += quoted(text);
  }
  void number(std::string_view digits) override {
    separate();
    out_ += digits;
  }
  void bytes(const std::vector<uint8_t>& bytes) override {
    separate();
    out_ += '[';
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i > 0) out_ += indent_ > 0 ? ", " : ",";
      out_ += std::to_string(bytes[i]);
    }
    out_ += ']';
  }

 private:
  /// Pairs of braces would be filled when read again; an escape says that they are meant.
  static std::string quoted(std::string_view text) {
    std::string all = text::quote_json(text), out;
    size_t done = 0;
    for (size_t at = 0; (at = all.find("{{", at)) != std::string::npos; ++at) {
      out.append(all, done, at + 1 - done) += "\\u007b";
      done = at + 2;
    }
    return done == 0 ? all : out.append(all, done);
  }

  void begin(char bracket) {
    separate();
    out_ += bracket;
    ++depth_;
    first_ = true;
  }

  void end(char bracket) {
    --depth_;
    if (!first_) break_line();  // nothing stands between the brackets otherwise
    out_ += bracket;
    first_ = false;
  }

  /// What goes before a key or a value.
  void separate() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    if (!first_) out_ += ',';
    if (depth_ > 0) break_line();
    first_ = false;
  }

  void break_line() {
    if (indent_ == 0) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(std::min(depth_, kDeepestIndent)) * indent_, ' ');
  }

  std::string out_;
  const size_t indent_;
  int depth_ = 0;
  bool first_ = true, after_key_ = false;
};

}  // namespace

std::string print_json(const Query& query, int indent) {
  JsonSink sink(indent);
  ir::tell(query, sink);
  return sink.take();
}

}  // namespace spnl
