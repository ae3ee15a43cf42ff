// What a client has to say, one thing after the other and no faster than the server takes it.

#include "client/client_core.hpp"
#include "connection/deadline_queue.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>

namespace skein::detail {
namespace {

// Subscriptions that are asked for and not answered. A server that limits a client's rate refuses what comes
// past a burst, and ends a connection that goes on: after the first so many, fewer are under way, and more
// only by and by.
constexpr std::size_t most_under_way = 16;
constexpr std::size_t answered_for_more = 32;
constexpr std::size_t most_acknowledged = 100;  // in one message

// What may be otherwise the next time. Everything else ends a subscription.
constexpr std::array<std::string_view, 5> passing{"internal_error", "keys_unavailable", "rate_limited",
                                                  "store_full", "store_unavailable"};

}  // namespace

bool is_passing(const request_error& error) noexcept {
  return error.retry_after.count() > 0 || std::ranges::find(passing, error.code) != passing.end();
}

void client_core::say_on() {
  while (welcomed_) {
    const auto now = options_.time->now();
    const auto opens = pace_.opens(now);
    if (opens > now) {
      if (has_something_to_say()) held_back_->set(opens);
      return;
    }
    ask_doubtful_again();
    const auto before = turn_;
    turn_ = pace_.is_slow() ? (turn_ + 1) % 3 : 0;
    if (!say_one()) {
      turn_ = before;
      return;
    }
    pace_.said(now, options_.random());
  }
}

// Subscriptions first: a client follows what it publishes to. When little can be said, it is said by turns.
bool client_core::say_one() {
  for (unsigned i = 0; i < 3; ++i) {
    const auto kind = (turn_ + i) % 3;
    if (kind == 0 ? say_errand() : kind == 1 ? say_request() : say_acknowledgement()) return true;
  }
  return false;
}

bool client_core::has_something_to_say() {
  while (!unsent_.empty() && unsent_.front()->done) unsent_.pop_front();
  return !unsent_.empty() || !to_acknowledge_.empty() || !wanted_.empty() ||
         std::ranges::any_of(under_way_, &errand::doubtful);
}

bool client_core::say_request() {
  while (!unsent_.empty()) {
    const auto next = std::move(unsent_.front());
    unsent_.pop_front();
    if (next->done) continue;
    next->sent = true;
    send(next->text);
    return true;
  }
  return false;
}

bool client_core::say_acknowledgement() {
  if (to_acknowledge_.empty()) return false;
  const auto count = std::min(to_acknowledge_.size(), most_acknowledged);
  const auto end = to_acknowledge_.begin() + static_cast<std::ptrdiff_t>(count);
  json::object request{{"type", "ack"}};
  if (count == 1) {
    request["id"] = to_acknowledge_.front();
  } else {
    request["id"] = json::array(to_acknowledge_.begin(), end);
  }
  to_acknowledge_.erase(to_acknowledge_.begin(), end);
  send(json::serialize(request));
  return true;
}

void client_core::on_acknowledged(stored_id id) {
  acknowledged_.add(id);
  stats_.repeats += std::erase_if(messages_, [&](const auto& each) { return each.id == id; });
}

void client_core::acknowledge(stored_id id) {
  on_acknowledged(id);
  if (!welcomed_) return;  // it comes again, and then
  to_acknowledge_.push_back(id);
  say_on();
}

void client_core::acknowledge_again(const json::value& ids, const request_error& why) {
  const auto add = [&](const json::value& each) {
    boost::system::error_code ec;
    const auto id = each.to_number<stored_id>(ec);
    if (!ec) refused_.push_back(id);
  };
  if (ids.is_array()) {
    for (const auto& each : ids.get_array()) add(each);
  } else {
    add(ids);
  }
  acknowledge_again_->set(deadline_after(options_.time->now(), pause_after(3, why.retry_after)));
}

// --- Errands ---

std::size_t client_core::may_be_under_way() const {
  if (pace_.is_wary()) return 1;
  if (asked_so_far_ < most_under_way) return most_under_way;
  const auto more = answered_so_far_ > most_under_way ? answered_so_far_ - most_under_way : 0;
  return std::min(most_under_way, 1 + more / answered_for_more);
}

bool client_core::say_errand() {
  if (under_way_.size() >= may_be_under_way()) return false;
  const auto next = std::ranges::find_if(
      wanted_, [&](const auto& each) { return each->leaves || !farewells_.contains(each->channel); });
  if (next == wanted_.end()) return false;
  const auto what = std::move(*next);
  wanted_.erase(next);
  auto id = next_id();
  json::object request = what->leaves ? json::object{{"type", "unsubscribe"}, {"channel", what->channel}}
                                      : subscribe_request(static_cast<const feed&>(*what));
  request["id"] = id;
  asked_.emplace(std::move(id), what);
  ++asked_so_far_;
  under_way_.push_back(what);
  what->now = errand::stage::under_way;
  alarm_of(what).set(deadline_after(options_.time->now(), options_.request_timeout));
  send(json::serialize(request));
  return true;
}

alarm& client_core::alarm_of(const std::shared_ptr<errand>& what) {
  if (!what->timer) {
    what->timer = options_.time->make_alarm(executor_, [this, weak = std::weak_ptr{what}] {
      const auto due = weak.lock();
      if (!due || !welcomed_) return;
      // What was settled in the same moment may ring nevertheless.
      const bool unanswered = due->now == errand::stage::under_way;
      if (!unanswered && due->now != errand::stage::resting) return;
      want(due);
      if (unanswered && !due->leaves) tell({"timed_out", "no answer in time"}, due->channel);
      say_on();
    });
  }
  return *what->timer;
}

void client_core::settle(const std::shared_ptr<errand>& what) {
  if (what->timer) what->timer->cancel();
  if (what->now == errand::stage::wanted) std::erase(wanted_, what);
  if (what->now == errand::stage::under_way) std::erase(under_way_, what);
  what->now = errand::stage::idle;
  what->doubtful = false;
}

void client_core::want(const std::shared_ptr<errand>& what) {
  settle(what);
  what->now = errand::stage::wanted;
  wanted_.push_back(what);
}

void client_core::want_later(const std::shared_ptr<errand>& what, std::chrono::milliseconds retry_after) {
  settle(what);
  what->now = errand::stage::resting;
  alarm_of(what).set(deadline_after(options_.time->now(), pause_after(what->failures++, retry_after)));
}

// As long as the server asked for, and longer each time that it fails; not all clients at once.
std::chrono::nanoseconds client_core::pause_after(unsigned failures, std::chrono::milliseconds retry_after) {
  const auto most = longest_pause(failures);
  const auto least = std::max<std::chrono::nanoseconds>(retry_after, most / 2);
  return least + std::chrono::nanoseconds{
                     static_cast<std::int64_t>(options_.random() * static_cast<double>(most.count()) / 2)};
}

void client_core::ask_doubtful_again() {
  std::vector<std::shared_ptr<errand>> again;
  std::ranges::copy_if(under_way_, std::back_inserter(again),
                       [](const auto& each) { return each->doubtful; });
  for (const auto& each : again) settle(each);
  for (const auto& each : again) each->now = errand::stage::wanted;
  wanted_.insert(wanted_.begin(), again.begin(), again.end());
}

bool client_core::answers_an_errand(const std::string& id, const json::object& answer) {
  const auto found = asked_.find(id);
  if (found == asked_.end()) return false;
  const auto what = found->second;
  const bool refused = text_of(answer, "type") == "error";
  // A request that was repeated may be answered twice.
  std::erase_if(asked_,
                [&](const auto& each) { return each.first == id || (!refused && each.second == what); });
  ++answered_so_far_;
  if (what->leaves) {
    on_farewell(what, answer);
  } else if (const auto mine = std::static_pointer_cast<feed>(what); follows(*mine)) {
    on_answer_to(mine, answer);
  }
  say_on();
  return true;
}

void client_core::on_farewell(const std::shared_ptr<errand>& what, const json::object& answer) {
  const auto known = farewells_.find(what->channel);
  if (known == farewells_.end() || known->second != what) return;
  settle(what);
  if (text_of(answer, "type") == "error") {
    const auto error = to_error(answer);
    if (is_passing(error)) {
      want_later(what, error.retry_after);
      return;
    }
  }
  farewells_.erase(known);
}

// An error may say that the server has had too much, whatever it answers.
void client_core::heed(const json::object& message, const request_error& error) {
  if (error.code != "rate_limited" || error.retry_after.count() == 0) return;
  pace_.refused(error.retry_after, options_.time->now(), options_.random());
  // What was refused may have been any of them.
  if (!message.contains("id"))
    std::ranges::for_each(under_way_, [](const auto& each) { each->doubtful = true; });
  say_on();
}

void client_core::forget_what_was_asked() {
  for (const auto& [channel, farewell] : farewells_) settle(farewell);
  for (const auto& each : in_order_) settle(each);
  farewells_.clear();
  wanted_.clear();
  under_way_.clear();
  asked_.clear();
  to_acknowledge_.clear();  // they come again
  refused_.clear();
  asked_so_far_ = answered_so_far_ = 0;
}

void client_core::tell(const request_error& error, std::string_view channel) {
  if (!options_.on_error || abandoned_) return;
  try {
    options_.on_error(error, channel);
  } catch (...) {  // NOLINT: it is not told to stop anything
  }
}

}  // namespace skein::detail
