// The methods of str.
#include <algorithm>

#include "jinja/budget.h"
#include "jinja/format.h"
#include "jinja/iterate.h"
#include "jinja/methods.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"
#include "jinja/text.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

using Fn = MethodFn;

Value like(const Value& self, std::string text) {
  return self.str().markup ? Value::markup(std::move(text)) : Value(std::move(text));
}

template <std::string (*F)(std::string_view)>
Value mapped(Runtime&, const Value& self, Args& args) {
  Bound b("str method", args, {});
  return like(self, F(self.text()));
}

template <bool L, bool R>
Value strip_method(Runtime&, const Value& self, Args& args) {
  Bound b("strip", args, {"chars"});
  if (!b.given(0)) return like(self, std::string(strip(self.text(), L, R)));
  std::string_view chars = b.text(0);
  spend(self.text().size() * (chars.size() + 1) / 64);
  return like(self, std::string(strip(self.text(), L, R, &chars)));
}

Value texts(std::vector<std::string_view> parts) {
  spend_items(static_cast<int64_t>(parts.size()));
  std::vector<Value> out;
  out.reserve(parts.size());
  for (std::string_view p : parts) out.emplace_back(p);
  return Value::list(std::move(out));
}

template <bool R>
Value split_method(Runtime&, const Value& self, Args& args) {
  Bound b("split", args, {"sep", "maxsplit"});
  int64_t max = b.integer(1, -1);
  if (!b.given(0)) return texts(split_space(self.text(), max, R));
  if (b.text(0).empty()) fail("empty separator");
  return texts(split_text(self.text(), b.text(0), max, R));
}

Value splitlines(Runtime&, const Value& self, Args& args) {
  Bound b("splitlines", args, {"keepends"});
  return texts(split_lines(self.text(), b.flag(0, false)));
}

template <bool End>
Value affix(Runtime&, const Value& self, Args& args) {
  Bound b(End ? "endswith" : "startswith", args, {"prefix", "start", "end"}, 1);
  std::string_view text = self.text();
  std::string cut;
  if (b.has(1) || b.has(2)) {
    std::u32string chars = decode(text);
    int64_t size = static_cast<int64_t>(chars.size());
    auto clamp = [&](int64_t i) { return i < 0 ? std::max<int64_t>(i + size, 0) : i; };
    int64_t from = b.given(1) ? clamp(b.integer(1, 0)) : 0;
    int64_t to = b.given(2) ? std::min(clamp(b.integer(2, size)), size) : size;
    if (from > to) return Value(false);
    cut = encode(std::u32string_view(chars).substr(static_cast<size_t>(from),
                                                   static_cast<size_t>(to - from)));
    text = cut;
  }
  auto test = [&](const Value& v) {
    if (!v.is_string())
      fail(std::string(End ? "endswith" : "startswith") +
           " first arg must be str or a tuple of str, not " + type_name(v));
    return End ? text.ends_with(v.text()) : text.starts_with(v.text());
  };
  if (!b[0].is(Kind::kTuple)) return Value(test(b[0]));
  for (const Value& v : b[0].items()) {
    if (test(v)) return Value(true);
  }
  return Value(false);
}

Value replace_method(Runtime&, const Value& self, Args& args) {
  Bound b("replace", args, {"old", "new", "count"}, 2);
  return like(self, replace_text(self.text(), b.text(0), b.text(1), b.integer(2, -1)));
}

enum class Find { kFind, kRfind, kIndex, kRindex, kCount };

template <Find What>
Value find_in(Runtime&, const Value& self, Args& args) {
  Bound b("find", args, {"sub", "start", "end"}, 1);
  spend(self.text().size() / 16);
  std::u32string text = decode(self.text()), sub = decode(b.text(0));
  int64_t size = static_cast<int64_t>(text.size());
  auto clamp = [&](int64_t i) { return i < 0 ? std::max<int64_t>(i + size, 0) : i; };
  int64_t from = b.given(1) ? clamp(b.integer(1, 0)) : 0;
  int64_t to = b.given(2) ? std::min(clamp(b.integer(2, size)), size) : size;
  int64_t found = -1, count = 0;
  if (from <= to) {
    std::u32string_view part =
        std::u32string_view(text).substr(static_cast<size_t>(from), static_cast<size_t>(to - from));
    if (What == Find::kCount) {
      if (sub.empty()) return Value(static_cast<int64_t>(part.size()) + 1);
      for (size_t at = 0; (at = part.find(sub, at)) != part.npos; at += sub.size()) ++count;
    } else {
      size_t at = What == Find::kRfind || What == Find::kRindex ? part.rfind(sub) : part.find(sub);
      if (at != part.npos) found = from + static_cast<int64_t>(at);
    }
  }
  if (What == Find::kCount) return Value(count);
  if (found < 0 && (What == Find::kIndex || What == Find::kRindex)) fail("substring not found");
  return Value(found);
}

Value join(Runtime& rt, const Value& self, Args& args) {
  Bound b("join", args, {"iterable"}, 1);
  std::string out;
  bool first = true;
  Iteration it(b[0]);
  for (Value v; it.next(rt, v); first = false) {
    if (!v.is_string()) fail("sequence item: expected str instance, " + type_name(v) + " found");
    if (!first) out += self.text();
    out += v.text();
    check_text(out.size());
  }
  return like(self, std::move(out));
}

template <bool Pre>
Value remove_affix(Runtime&, const Value& self, Args& args) {
  Bound b("removeprefix", args, {"prefix"}, 1);
  std::string_view text = self.text(), fix = b.text(0);
  if (Pre && text.starts_with(fix)) text.remove_prefix(fix.size());
  if (!Pre && text.ends_with(fix)) text.remove_suffix(fix.size());
  return like(self, std::string(text));
}

template <bool R>
Value partition(Runtime&, const Value& self, Args& args) {
  Bound b("partition", args, {"sep"}, 1);
  const std::string &text = self.text(), &sep = b.text(0);
  if (sep.empty()) fail("empty separator");
  size_t at = R ? text.rfind(sep) : text.find(sep);
  if (at == text.npos)
    return R ? Value::tuple({Value(""), Value(""), self})
             : Value::tuple({self, Value(""), Value("")});
  return Value::tuple({Value(text.substr(0, at)), Value(sep), Value(text.substr(at + sep.size()))});
}

template <char Align>
Value justify(Runtime&, const Value& self, Args& args) {
  Bound b("just", args, {"width", "fillchar"}, 1);
  std::string fill = b.has(1) ? b.text(1) : " ";
  if (char_count(fill) != 1) fail("The fill character must be exactly one character long");
  return like(self, justified(self.text(), b.integer(0, 0), fill, Align));
}

Value zfill(Runtime&, const Value& self, Args& args) {
  Bound b("zfill", args, {"width"}, 1);
  const std::string& text = self.text();
  bool sign = !text.empty() && (text[0] == '+' || text[0] == '-');
  if (!sign) return Value(justified(text, b.integer(0, 0), "0", '>'));
  return Value(text[0] +
               justified(text.substr(1), std::max<int64_t>(b.integer(0, 0), 1) - 1, "0", '>'));
}

Value expandtabs(Runtime&, const Value& self, Args& args) {
  Bound b("expandtabs", args, {"tabsize"});
  int64_t size = std::clamp<int64_t>(b.integer(0, 8), 0, 4096), column = 0;
  std::string out;
  for (size_t i = 0; i < self.text().size();) {
    char32_t c = next_char(self.text(), i);
    if (c == '\t') {
      int64_t n = size ? size - column % size : 0;
      out.append(static_cast<size_t>(n), ' ');
      column += n;
    } else {
      append_char(out, c);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
    check_text(out.size());
  }
  return Value(std::move(out));
}

template <bool (*Test)(char32_t), bool Empty = false>
Value all(Runtime&, const Value& self, Args& args) {
  Bound b("str method", args, {});
  if (self.text().empty()) return Value(Empty);
  for (size_t i = 0; i < self.text().size();) {
    if (!Test(next_char(self.text(), i))) return Value(false);
  }
  return Value(true);
}

bool ascii_char(char32_t c) { return c < 128; }

template <bool Upper>
Value is_case(Runtime&, const Value& self, Args& args) {
  Bound b("str method", args, {});
  return Value(has_case(self.text(), Upper));
}

Value is_title_method(Runtime&, const Value& self, Args& args) {
  Bound b("istitle", args, {});
  bool inside = false, any = false;
  for (size_t i = 0; i < self.text().size();) {
    char32_t c = next_char(self.text(), i);
    bool head = is_upper(c) || is_title(c);
    if ((head && inside) || (is_lower(c) && !inside)) return Value(false);
    inside = is_cased(c);
    any |= inside;
  }
  return Value(any);
}

Value is_identifier(Runtime&, const Value& self, Args& args) {
  Bound b("isidentifier", args, {});
  bool first = true;
  for (size_t i = 0; i < self.text().size(); first = false) {
    char32_t c = next_char(self.text(), i);
    if (c != '_' && !is_alpha(c) && (first || !is_decimal(c))) return Value(false);
  }
  return Value(!first);
}

Value format_method(Runtime& rt, const Value& self, Args& args) {
  return like(self, format_string(rt, self.text(), args));
}

Value format_map(Runtime& rt, const Value& self, Args& args) {
  Bound b("format_map", args, {"mapping"}, 1);
  if (!b[0].is(Kind::kDict)) fail("format_map() argument must be a mapping");
  Args named;
  for (const auto& [k, v] : b[0].dict().items) {
    if (k.is_string()) named.kw.emplace_back(k.text(), v);
  }
  return Value(format_string(rt, self.text(), named));
}

struct Entry {
  std::string_view name;
  Fn fn;
};
constexpr Entry kMethods[] = {
    {"capitalize", mapped<to_capitalized>},
    {"casefold", mapped<to_lower>},
    {"center", justify<'^'>},
    {"count", find_in<Find::kCount>},
    {"endswith", affix<true>},
    {"expandtabs", expandtabs},
    {"find", find_in<Find::kFind>},
    {"format", format_method},
    {"format_map", format_map},
    {"index", find_in<Find::kIndex>},
    {"isalnum", all<is_alnum>},
    {"isalpha", all<is_alpha>},
    {"isascii", all<ascii_char, true>},
    {"isdecimal", all<is_decimal>},
    {"isdigit", all<is_digit>},
    {"isidentifier", is_identifier},
    {"islower", is_case<false>},
    {"isnumeric", all<is_numeric>},
    {"isprintable", all<is_printable, true>},
    {"isspace", all<is_space>},
    {"istitle", is_title_method},
    {"isupper", is_case<true>},
    {"join", join},
    {"ljust", justify<'<'>},
    {"lower", mapped<to_lower>},
    {"lstrip", strip_method<true, false>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace_method},
    {"rfind", find_in<Find::kRfind>},
    {"rindex", find_in<Find::kRindex>},
    {"rjust", justify<'>'>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", strip_method<false, true>},
    {"split", split_method<false>},
    {"splitlines", splitlines},
    {"startswith", affix<false>},
    {"strip", strip_method<true, true>},
    {"swapcase", mapped<swap_case>},
    {"title", mapped<to_title>},
    {"upper", mapped<to_upper>},
    {"zfill", zfill},
};

}  // namespace

MethodFn find_string_method(std::string_view name) {
  auto at = std::lower_bound(std::begin(kMethods), std::end(kMethods), name,
                             [](const Entry& e, std::string_view n) { return e.name < n; });
  return at != std::end(kMethods) && at->name == name ? at->fn : nullptr;
}

}  // namespace spnl::modelkit::jinja
