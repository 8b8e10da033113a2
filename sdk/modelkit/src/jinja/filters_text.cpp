// Filters that make or change text.
#include <algorithm>

#include "jinja/budget.h"
#include "jinja/filters.h"
#include "jinja/format.h"
#include "jinja/iterate.h"
#include "jinja/methods.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"
#include "jinja/text.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

Value like(const Value& v, std::string text) {
  return v.is_string() && v.str().markup ? Value::markup(std::move(text)) : Value(std::move(text));
}

template <std::string (*F)(std::string_view)>
Value mapped(Runtime&, const Value& v, Args& args) {
  Bound b("filter", args, {});
  return like(v, F(to_text(v)));
}

/// The filter's own idea of title case: words start after blanks, hyphens and opening brackets.
std::string title_words(std::string_view s) {
  std::string out, word;
  auto flush = [&] {
    if (word.empty()) return;
    size_t pos = 0;
    next_char(word, pos);
    out += to_upper(word.substr(0, pos)) + to_lower(word.substr(pos));
    word.clear();
  };
  for (size_t i = 0; i < s.size();) {
    char32_t c = next_char(s, i);
    if (is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<') {
      flush();
      append_char(out, c);
    } else {
      append_char(word, c);
    }
  }
  flush();
  return out;
}

Value trim(Runtime&, const Value& v, Args& args) {
  Bound b("trim", args, {"chars"});
  std::string text = to_text(v);
  if (!b.given(0)) return like(v, std::string(strip(text, true, true)));
  std::string_view chars = b.text(0);
  spend(text.size() * (chars.size() + 1) / 64);
  return like(v, std::string(strip(text, true, true, &chars)));
}

Value string(Runtime&, const Value& v, Args& args) {
  Bound b("string", args, {});
  return v.is_string() ? v : Value(to_text(v));
}
Value safe(Runtime&, const Value& v, Args&) { return Value::markup(to_text(v)); }
Value escape(Runtime&, const Value& v, Args&) {
  return v.is_string() && v.str().markup ? v : Value::markup(escape_html(to_text(v)));
}
Value force_escape(Runtime&, const Value& v, Args&) {
  return Value::markup(escape_html(to_text(v)));
}

Value replace(Runtime&, const Value& v, Args& args) {
  Bound b("replace", args, {"old", "new", "count"}, 2);
  return Value(
      replace_text(to_text(v), to_text(b[0]), to_text(b[1]), b.given(2) ? b.integer(2, -1) : -1));
}

Value center(Runtime&, const Value& v, Args& args) {
  Bound b("center", args, {"width"});
  return Value(justified(to_text(v), b.integer(0, 80), " ", '^'));
}

Value indent(Runtime&, const Value& v, Args& args) {
  Bound b("indent", args, {"width", "first", "blank"});
  if (!v.is_string()) fail("indent needs a string, not '" + type_name(v) + "'");
  std::string by;
  if (b.has(0) && b[0].is_string()) {
    by = b.text(0);
  } else {
    int64_t n = std::max<int64_t>(b.integer(0, 4), 0);
    if (n > static_cast<int64_t>(kMaxText)) check_text(kMaxText + 1);
    by.assign(static_cast<size_t>(n), ' ');
  }
  bool blank = b.flag(2, false);
  std::string text = v.text() + "\n", out;
  bool start = true;
  for (std::string_view line : split_lines(text)) {
    if (start ? b.flag(1, false) : blank || !line.empty()) {
      out += start ? by : "\n" + by;
    } else if (!start) {
      out += '\n';
    }
    out += line;
    check_text(out.size());
    start = false;
  }
  return like(v, std::move(out));
}

Value truncate(Runtime&, const Value& v, Args& args) {
  Bound b("truncate", args, {"length", "killwords", "end", "leeway"});
  if (!v.is_string()) fail("truncate needs a string, not '" + type_name(v) + "'");
  std::string end = b.has(2) ? b.text(2) : "...";
  int64_t size = b.integer(0, 255), tail = static_cast<int64_t>(char_count(end));
  int64_t leeway = b.given(3) ? b.integer(3, 0) : 5;
  if (size < tail || leeway < 0) fail("expected length >= " + std::to_string(tail));
  std::u32string chars = decode(v.text());
  if (static_cast<int64_t>(chars.size()) - leeway <= size) return v;
  std::string cut = encode(std::u32string_view(chars).substr(0, static_cast<size_t>(size - tail)));
  if (!b.flag(1, false)) cut = cut.substr(0, cut.rfind(' '));
  return Value(cut + end);
}

Value word_count(Runtime&, const Value& v, Args& args) {
  Bound b("wordcount", args, {});
  std::string text = to_text(v);
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    char32_t c = next_char(text, i);
    bool word = c == '_' || is_alnum(c);
    words += word && !inside;
    inside = word;
  }
  return Value(words);
}

Value word_wrap(Runtime&, const Value& v, Args& args) {
  Bound b("wordwrap", args, {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  int64_t width = b.integer(0, 79);
  if (width <= 0) fail("invalid width (must be > 0)");
  std::string join = b.given(2) ? b.text(2) : "\n", text = to_text(v), out;
  bool first_line = true;
  for (std::string_view line : split_lines(text)) {
    if (!std::exchange(first_line, false)) out += join;
    std::u32string row;
    bool first_row = true;
    auto flush = [&] {
      while (!row.empty() && row.back() == ' ') row.pop_back();
      if (row.empty()) return;
      if (!std::exchange(first_row, false)) out += join;
      out += encode(row);
      check_text(out.size());
      row.clear();
    };
    std::u32string chars = decode(line);
    for (size_t i = 0; i < chars.size();) {
      size_t end = i;
      bool space = is_space(chars[i]);
      while (end < chars.size() && is_space(chars[end]) == space) {
        ++end;
        if (!space && b.flag(3, true) && chars[end - 1] == '-' && end - i > 1) break;
      }
      std::u32string word = chars.substr(i, end - i);
      i = end;
      if (space && row.empty() && !first_row) continue;
      size_t room = static_cast<size_t>(width);
      if (row.size() + word.size() > room) {
        if (word.size() > room && !space && b.flag(1, true)) {
          while (row.size() + word.size() > room) {
            size_t n = room - std::min(row.size(), room);
            row += word.substr(0, n);
            word.erase(0, n);
            flush();
          }
        } else {
          flush();
          if (space) continue;
        }
      }
      row += word;
    }
    flush();
  }
  return Value(std::move(out));
}

Value format(Runtime&, const Value& v, Args& args) {
  if (!args.pos.empty() && !args.kw.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  Value text(to_text(v));
  if (args.kw.empty()) return percent_format(text, Value::tuple(args.pos));
  auto named = std::make_shared<Dict>();
  for (const auto& [k, value] : args.kw) named->set(Value(k), value);
  return percent_format(text, make_dict(std::move(named)));
}

Value join(Runtime& rt, const Value& v, Args& args) {
  Bound b("join", args, {"d", "attribute"});
  std::string sep = b.has(0) ? to_text(b[0]) : "", out;
  AttrGetter get(b.get(1, Value()), false);
  bool first = true;
  Iteration it(v);
  for (Value item; it.next(rt, item); first = false) {
    if (!first) out += sep;
    out += to_text(get(rt, item));
    check_text(out.size());
  }
  return Value(std::move(out));
}

Value to_json_filter(Runtime&, const Value& v, Args& args) {
  Bound b("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = b.flag(0, false);
  style.sort_keys = b.flag(3, false);
  if (b.given(1)) {
    style.has_indent = true;
    style.item_separator = ",";
    if (b[1].is_string()) {
      style.indent = b[1].text();
    } else {
      int64_t n = std::max<int64_t>(b.integer(1, 0), 0);
      if (n > 1000) fail_limit("indent is too large");
      style.indent.assign(static_cast<size_t>(n), ' ');
    }
  }
  if (b.given(2)) {
    if (!b[2].is_sequence() || b[2].items().size() != 2) fail("separators must be two strings");
    for (const Value& s : b[2].items()) {
      if (!s.is_string()) fail("separators must be two strings");
    }
    style.item_separator = b[2].items()[0].text();
    style.key_separator = b[2].items()[1].text();
  }
  return Value(to_json(v, style));
}

Value strip_tags(Runtime&, const Value& v, Args& args) {
  Bound b("striptags", args, {});
  std::string text = to_text(v), plain;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '<') {
      bool comment = text.compare(i, 4, "<!--") == 0;
      size_t end = text.find(comment ? "-->" : ">", i);
      if (end == text.npos) {
        plain += text.substr(i);
        break;
      }
      i = end + (comment ? 3 : 1);
    } else {
      plain += text[i++];
    }
  }
  std::string out;
  for (std::string_view word : split_space(plain, -1, false)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"},    {"&gt;", ">"},  {"&#34;", "\""},
      {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
  for (const auto& [from, to] : kEntities) out = replace_text(out, from, to, -1);
  return Value(std::move(out));
}

void quote_url(std::string& out, std::string_view s, bool query) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (char c : s) {
    auto u = static_cast<uint8_t>(c);
    if (u < 128 &&
        (is_alnum(u) || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query))) {
      out += c;
    } else if (query && c == ' ') {
      out += '+';
    } else {
      out += '%';
      out += kHex[u >> 4];
      out += kHex[u & 15];
    }
  }
}

Value url_encode(Runtime& rt, const Value& v, Args& args) {
  Bound b("urlencode", args, {});
  std::string out;
  if (v.is_string() || !iterable(v)) {
    quote_url(out, to_text(v), false);
    return Value(std::move(out));
  }
  auto pair = [&](const Value& k, const Value& value) {
    if (!out.empty()) out += '&';
    quote_url(out, to_text(k), true);
    out += '=';
    quote_url(out, to_text(value), true);
    check_text(out.size());
  };
  if (v.is(Kind::kDict)) {
    for (const auto& [k, value] : v.dict().items) pair(k, value);
    return Value(std::move(out));
  }
  for (const Value& item : collect(rt, v)) {
    std::vector<Value> kv = collect(rt, item);
    if (kv.size() != 2) fail("urlencode needs pairs");
    pair(kv[0], kv[1]);
  }
  return Value(std::move(out));
}

Value xml_attr(Runtime&, const Value& v, Args& args) {
  Bound b("xmlattr", args, {"autospace"});
  if (!v.is(Kind::kDict)) fail("xmlattr needs a mapping, not '" + type_name(v) + "'");
  std::string out;
  for (const auto& [k, value] : v.dict().items) {
    if (value.is_none() || value.is_undefined()) continue;
    std::string key = to_text(k);
    if (key.find_first_of(" \t\n\r\f\v/>=") != key.npos)
      fail("Invalid character in attribute name");
    if (!out.empty()) out += ' ';
    out += escape_html(key) + "=\"" + escape_html(to_text(value)) + "\"";
  }
  if (b.flag(0, true) && !out.empty()) out = " " + out;
  return Value(std::move(out));
}

constexpr FilterEntry kFilters[] = {
    {"tojson", to_json_filter},
    {"trim", trim},
    {"string", string},
    {"join", join},
    {"lower", mapped<to_lower>},
    {"upper", mapped<to_upper>},
    {"safe", safe},
    {"capitalize", mapped<to_capitalized>},
    {"title", mapped<title_words>},
    {"replace", replace},
    {"indent", indent},
    {"format", format},
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"center", center},
    {"truncate", truncate},
    {"wordcount", word_count},
    {"wordwrap", word_wrap},
    {"striptags", strip_tags},
    {"urlencode", url_encode},
    {"xmlattr", xml_attr},
    {"pprint", [](Runtime&, const Value& v, Args&) { return Value(repr(v)); }},
};

}  // namespace

FilterFn find_text_filter(std::string_view name) { return look_up_filter(kFilters, name); }

}  // namespace spnl::modelkit::jinja
