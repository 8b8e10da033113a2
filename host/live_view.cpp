#include "live_view.h"

#include <algorithm>
#include <cstdio>

#include "text_width.h"
#include "utf8.h"

namespace spnl::host {
namespace {

constexpr std::chrono::milliseconds kBetweenDraws(100);
constexpr size_t kMostRows = 12;        // more than these say nothing at a glance
constexpr double kShortestRate = 0.05;  // seconds: over less, a rate is noise
constexpr size_t kTailBytes = 800;      // kept of what a generation wrote: more than a line shows

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

std::string format(const char* how, double value) {
  char text[40];
  std::snprintf(text, sizeof text, how, value);
  return text;
}

std::string padded(std::string text, size_t width, bool right = false) {
  const size_t has = display_width(text);
  if (has >= width) return text;
  return right ? std::string(width - has, ' ') + text : text + std::string(width - has, ' ');
}

/// Drops whole characters from the front.
void keep_tail(std::string& text) {
  if (text.size() <= kTailBytes) return;
  size_t from = text.size() - kTailBytes;
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  text.erase(0, from);
}

}  // namespace

std::string short_model_name(const std::string& model) {
  return model.substr(model.rfind('/') + 1);
}

LiveView::LiveView(Terminal& terminal) : terminal_(terminal) {
  if (terminal.shows_status())
    thread_ = std::jthread([this](std::stop_token stop) { draw_until_stopped(std::move(stop)); });
}

void LiveView::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  terminal_.status({});
}

LiveView::Row* LiveView::find(const std::string& node) {
  // From the end: the same node starts again when a chat or a loop comes back to it.
  auto found =
      std::find_if(rows_.rbegin(), rows_.rend(), [&](const Row& row) { return row.node == node; });
  return found == rows_.rend() ? nullptr : &*found;
}

void LiveView::started(const std::string& node, const std::string& model, uint32_t samples) {
  std::lock_guard lock(mutex_);
  Row row;
  row.node = node;
  row.model = on_one_line(short_model_name(model));
  row.samples = samples;
  row.begin = Clock::now();
  if (rows_.empty()) begin_ = row.begin;  // loading does not count
  rows_.push_back(std::move(row));
}

void LiveView::wrote(const std::string& node, uint32_t sample, std::string_view text,
                     size_t tokens) {
  std::lock_guard lock(mutex_);
  Row* row = find(node);
  if (row == nullptr) return;
  row->last = Clock::now();
  if (row->state == State::kReading) {
    row->state = State::kWriting;
    row->first = row->last;
    row->shown_sample = sample;
  }
  row->tokens += tokens;
  if (sample != row->shown_sample) return;
  row->tail += text;
  keep_tail(row->tail);
}

void LiveView::finished(const std::string& node, bool failed) {
  std::lock_guard lock(mutex_);
  if (Row* row = find(node)) row->state = failed ? State::kFailed : State::kDone;
}

/// Those that run come before those that are over; each in the order of their start.
std::vector<const LiveView::Row*> LiveView::chosen_rows(size_t most) const {
  auto over = [](const Row& row) { return row.state > State::kWriting; };
  std::vector<const Row*> rows;
  for (const Row& row : rows_)
    if (!over(row) && rows.size() < most) rows.push_back(&row);
  size_t left = most - rows.size();
  for (size_t i = rows_.size(); i-- > 0 && left > 0;)
    if (over(rows_[i])) rows.push_back(&rows_[i]), --left;
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<std::string> LiveView::lines(Terminal::Size room) const {
  static constexpr const char* kStates[] = {"reading", "writing", "done", "failed"};
  size_t over = 0, all = 0, tokens = 0, node_width = 4, model_width = 5;
  for (const Row& row : rows_) {
    all += row.samples;
    over += row.state > State::kWriting ? row.samples : 0;
    tokens += row.tokens;
  }
  if (all == 0) return {};
  const double passed = seconds(Clock::now() - begin_);
  std::vector<std::string> out = {
      std::to_string(over) + " of " + std::to_string(all) + " generations done, " +
      std::to_string(tokens) + " tokens, " +
      format("%.1f tok/s, ", passed > 0 ? static_cast<double>(tokens) / passed : 0) +
      format("%.0f s", passed)};
  const auto rows = chosen_rows(std::min(kMostRows, room.rows > 4 ? room.rows - 4 : 0));
  for (const Row* row : rows) {
    node_width = std::max(node_width, row->node.size() + (row->samples > 1 ? 5 : 0));
    model_width = std::max(model_width, display_width(row->model));
  }
  for (const Row* row : rows) {
    const std::string times = row->samples > 1 ? " x" + std::to_string(row->samples) : "";
    const double wrote = seconds(row->last - row->first);
    const std::string rate =
        row->tokens > row->samples && wrote > kShortestRate
            ? format("%.1f tok/s", static_cast<double>(row->tokens - row->samples) / wrote)
            : "";
    std::string line = "  " + padded(row->node + times, node_width) + "  " +
                       padded(cut_to_width(row->model, 30), std::min<size_t>(model_width, 30)) +
                       "  " + padded(kStates[static_cast<size_t>(row->state)], 7) + "  " +
                       padded(std::to_string(row->tokens) + " tok", 9, true) + "  " +
                       padded(rate, 11, true);
    const size_t used = display_width(line) + 4;
    if (room.columns > used + 8)
      line += "  " + std::string(tail_of_width(on_one_line(row->tail), room.columns - used));
    out.push_back(std::move(line));
  }
  if (rows.size() < rows_.size())
    out.push_back("  and " + std::to_string(rows_.size() - rows.size()) + " more");
  return out;
}

void LiveView::draw_until_stopped(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    std::vector<std::string> now = lines(terminal_.size());
    lock.unlock();
    terminal_.status(now);
    lock.lock();
    wake_.wait_for(lock, stop, kBetweenDraws, [] { return false; });
  }
}

}  // namespace spnl::host
