#include "jinja/repr.h"

#include <charconv>
#include <cmath>

#include "jinja/budget.h"
#include "jinja/runtime.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

class Writer {
 public:
  std::string out;

  void write(const Value& v) {
    spend(1);
    check_text(out.size());
    if (++level_ > 2 * static_cast<int>(kMaxValueDepth)) {
      fail_limit("maximum recursion depth exceeded while printing");
    }
    write_kind(v);
    --level_;
  }

 private:
  void write_kind(const Value& v) {
    switch (v.kind()) {
      case Kind::kUndefined:
        out += "Undefined";
        break;
      case Kind::kNone:
        out += "None";
        break;
      case Kind::kBool:
        out += v.as_int() ? "True" : "False";
        break;
      case Kind::kInt:
        out += std::to_string(v.as_int());
        break;
      case Kind::kBigInt:
        out += v.as<BigInt>().digits;
        break;
      case Kind::kFloat:
        out += float_repr(v.as_float());
        break;
      case Kind::kString:
        out += v.str().markup ? "Markup(" + quoted(v.text()) + ")" : quoted(v.text());
        break;
      case Kind::kList:
        items(v.items(), '[', ']');
        break;
      case Kind::kTuple:
        items(v.items(), '(', ')');
        break;
      case Kind::kDict:
        dict(v.dict());
        break;
      case Kind::kView:
        view(v.as<View>(), type_name(v));
        break;
      case Kind::kRange:
        range(v.as<Range>());
        break;
      case Kind::kNamespace:
        out += "<Namespace ";
        dict(v.as<Namespace>().attrs);
        out += '>';
        break;
      case Kind::kMacro: {
        const Stmt& s = *v.as<Macro>().stmt;
        out += s.kind == StmtKind::kMacro ? "<Macro " + quoted(s.text) + ">" : "<Macro anonymous>";
        break;
      }
      case Kind::kFunction:
        out += "<built-in method " + v.as<Function>().name + ">";
        break;
      default:
        out += "<" + type_name(v) + " object>";
    }
  }

  void items(const std::vector<Value>& list, char open, char close) {
    out += open;
    for (size_t i = 0; i < list.size(); ++i) {
      if (i) out += ", ";
      write(list[i]);
    }
    if (open == '(' && list.size() == 1) out += ',';
    out += close;
  }

  void dict(const Dict& d) {
    out += '{';
    for (size_t i = 0; i < d.items.size(); ++i) {
      if (i) out += ", ";
      write(d.items[i].first);
      out += ": ";
      write(d.items[i].second);
    }
    out += '}';
  }

  void view(const View& v, const std::string& name) {
    out += name + "([";
    bool first = true;
    for (const auto& [key, value] : v.dict.dict().items) {
      if (!first) out += ", ";
      first = false;
      if (v.what == View::kItems) out += '(';
      if (v.what != View::kValues) write(key);
      if (v.what == View::kItems) out += ", ";
      if (v.what != View::kKeys) write(value);
      if (v.what == View::kItems) out += ')';
    }
    out += "])";
  }

  void range(const Range& r) {
    out += "range(" + std::to_string(r.start) + ", " + std::to_string(r.stop);
    if (r.step != 1) out += ", " + std::to_string(r.step);
    out += ')';
  }

  int level_ = 0;
};

void append_hex(std::string& out, char32_t c, const char* prefix, int width) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += prefix;
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += kHex[c >> shift & 15];
}

}  // namespace

std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  std::string sign = text[0] == '-' ? "-" : "";
  size_t e = text.find('e');
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    std::string exp = std::to_string(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (exp.size() < 2 ? "0" + exp : exp);
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  std::string fraction = digits.substr(whole);
  return sign + digits.substr(0, whole) + "." + (fraction.empty() ? "0" : fraction);
}

std::string quoted(std::string_view s) {
  char quote = s.find('\'') != s.npos && s.find('"') == s.npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < s.size();) {
    char32_t c = next_char(s, i);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append_char(out, c);
    } else if (c < 0x100) {
      append_hex(out, c, "\\x", 2);
    } else if (c < 0x10000) {
      append_hex(out, c, "\\u", 4);
    } else {
      append_hex(out, c, "\\U", 8);
    }
  }
  return out + quote;
}

std::string repr(const Value& v) {
  Writer w;
  w.write(v);
  spend_text(w.out.size());
  return std::move(w.out);
}

std::string to_text(const Value& v) {
  if (v.is_string()) return v.text();
  if (v.is_undefined()) return {};
  return repr(v);
}

std::string soft_text(const Value& v) { return to_text(v); }

}  // namespace spnl::modelkit::jinja
