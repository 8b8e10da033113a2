// json.dumps of values.
#include <algorithm>
#include <cmath>

#include "jinja/budget.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  std::string out;

  void write(const Value& v) {
    spend(1);
    check_text(out.size());
    switch (v.kind()) {
      case Kind::kNone:
        out += "null";
        break;
      case Kind::kBool:
        out += v.as_int() ? "true" : "false";
        break;
      case Kind::kInt:
      case Kind::kBigInt:
        out += repr(v);
        break;
      case Kind::kFloat:
        out += number(v.as_float());
        break;
      case Kind::kString:
        string(v.text());
        break;
      case Kind::kList:
      case Kind::kTuple:
        list(v.items());
        break;
      case Kind::kDict:
        dict(v.dict());
        break;
      default:
        fail("Object of type " + type_name(v) + " is not JSON serializable");
    }
  }

 private:
  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
    return float_repr(d);
  }

  void line_break() {
    if (!style_.has_indent) return;
    out += '\n';
    for (int i = 0; i < level_; ++i) out += style_.indent;
    check_text(out.size());
  }

  void list(const std::vector<Value>& items) {
    if (items.empty()) {
      out += "[]";
      return;
    }
    out += '[';
    ++level_;
    line_break();
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) {
        out += style_.item_separator;
        line_break();
      }
      write(items[i]);
    }
    --level_;
    line_break();
    out += ']';
  }

  void dict(const Dict& d) {
    if (d.items.empty()) {
      out += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : d.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto* a, const auto* b) { return less(a->first, b->first); });
    }
    out += '{';
    ++level_;
    line_break();
    bool first = true;
    for (const auto* item : items) {
      if (!first) {
        out += style_.item_separator;
        line_break();
      }
      first = false;
      key(item->first);
      out += style_.key_separator;
      write(item->second);
    }
    --level_;
    line_break();
    out += '}';
  }

  void key(const Value& k) {
    switch (k.kind()) {
      case Kind::kString:
        string(k.text());
        break;
      case Kind::kNone:
        string("null");
        break;
      case Kind::kBool:
        string(k.as_int() ? "true" : "false");
        break;
      case Kind::kInt:
      case Kind::kBigInt:
        string(repr(k));
        break;
      case Kind::kFloat:
        string(number(k.as_float()));
        break;
      default:
        fail("keys must be str, int, float, bool or None, not " + type_name(k));
    }
  }

  void unit(uint32_t u) {
    static constexpr char kHex[] = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kHex[u >> shift & 15];
  }

  void string(std::string_view s) {
    out += '"';
    for (size_t i = 0; i < s.size();) {
      size_t begin = i;
      char32_t c = next_char(s, i);
      switch (c) {
        case '"':
          out += "\\\"";
          continue;
        case '\\':
          out += "\\\\";
          continue;
        case '\n':
          out += "\\n";
          continue;
        case '\r':
          out += "\\r";
          continue;
        case '\t':
          out += "\\t";
          continue;
        case '\b':
          out += "\\b";
          continue;
        case '\f':
          out += "\\f";
          continue;
        default:
          break;
      }
      if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F && c < 0x10000)) {
        unit(c);
      } else if (style_.ensure_ascii && c >= 0x10000) {
        unit(0xD800 + ((c - 0x10000) >> 10));
        unit(0xDC00 + ((c - 0x10000) & 0x3FF));
      } else {
        out += s.substr(begin, i - begin);
      }
    }
    out += '"';
  }

  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

std::string to_json(const Value& v, const JsonStyle& style) {
  JsonWriter w(style);
  w.write(v);
  return std::move(w.out);
}

}  // namespace spnl::modelkit::jinja
