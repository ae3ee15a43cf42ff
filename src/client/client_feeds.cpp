#include "client/client_core.hpp"
#include "connection/deadline_queue.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>

namespace skein::detail {

std::shared_ptr<feed_reader> client_core::subscribe(std::string channel, subscribe_options how) {
  auto reader = std::make_shared<feed_reader>(shared_from_this(), channel, executor_);
  if (how.since) reader->taken = *how.since;
  if (stopping_) return reader;
  auto& known = feeds_[channel];
  const bool joins = known != nullptr;
  if (!joins) {
    known = std::make_shared<feed>();
    known->pattern = channel.find_first_of("*>") != std::string::npos;
    known->channel = std::move(channel);
    known->position = std::move(how.since);
    known->info = std::move(how.info);
    in_order_.push_back(known);
    if (welcomed_) want(known);
  }
  reader->source = known;
  known->readers.push_back(reader.get());
  if (joins) on_joined(*known, *reader, how.since);
  say_on();
  return reader;
}

// The server sends nothing again for one that comes later.
void client_core::on_joined(feed& what, feed_reader& reader, const std::optional<topic_position>& since) {
  if (since) {
    if (since != what.position) give_gap(what, reader);
  } else if (what.position && !what.pattern) {
    reader.taken = *what.position;
  }
}

void client_core::unsubscribe(feed_reader& reader) {
  const auto from = std::exchange(reader.source, nullptr);
  if (!from) return;
  std::erase(from->readers, &reader);
  reader.changed.notify();
  if (!from->readers.empty()) return;
  feeds_.erase(from->channel);
  std::erase(in_order_, from);
  const bool known =
      from->live || std::ranges::any_of(asked_, [&](const auto& each) { return each.second == from; });
  settle(from);
  if (!welcomed_) return;
  if (known) {
    auto farewell = std::make_shared<errand>();
    farewell->channel = from->channel;
    farewell->leaves = true;
    farewells_.emplace(from->channel, farewell);
    want(farewell);
  }
  say_on();
}

asio::awaitable<std::optional<feed_item>> client_core::next(std::shared_ptr<feed_reader> reader) {
  while (reader->items.empty()) {
    if (reader->failure) std::rethrow_exception(std::exchange(reader->failure, nullptr));
    if (!reader->source) co_return std::nullopt;
    co_await reader->changed.wait();
  }
  std::optional<feed_item> item{std::move(reader->items.front())};
  reader->items.pop_front();
  if (!item->position.epoch.empty()) reader->taken = item->position;
  co_return item;
}

json::object client_core::subscribe_request(const feed& what) {
  json::object request{{"type", "subscribe"}, {"channel", what.channel}};
  if (what.position && !what.position->epoch.empty() && !what.pattern) {
    request["recover"] = {{"epoch", what.position->epoch}, {"offset", what.position->offset}};
  }
  if (what.info) request["info"] = *what.info;
  return request;
}

bool client_core::follows(const feed& what) const {
  const auto found = feeds_.find(what.channel);
  return found != feeds_.end() && found->second.get() == &what;
}

void client_core::on_answer_to(const std::shared_ptr<feed>& what, const json::object& answer) {
  if (what->live) return;  // of a request that was repeated
  settle(what);
  if (text_of(answer, "type") == "subscribed") {
    on_subscribed(*what, answer);
  } else {
    on_refused(what, to_error(answer));
  }
}

void client_core::on_subscribed(feed& what, const json::object& answer) {
  const auto now = position_of(answer);
  const auto* const recovered = answer.if_contains("recovered");
  const bool complete = recovered != nullptr && recovered->is_bool() && recovered->get_bool();
  const bool missed = !complete && (what.lived || what.position);
  what.live = what.lived = true;
  ++what.confirmed;
  what.failures = 0;
  // What is recovered comes from where it was left.
  if (!complete && !now.epoch.empty()) what.position = now;
  if (missed) {
    for (auto* const reader : what.readers) give_gap(what, *reader);
    return;
  }
  // Nothing is missing up to here.
  for (auto* const reader : what.readers) {
    if (reader->items.empty() && reader->taken.epoch.empty() && !what.pattern) reader->taken = now;
  }
}

/// The server does not want it, or not now.
void client_core::on_refused(const std::shared_ptr<feed>& what, request_error error) {
  what->live = false;
  if (!is_passing(error)) {
    end_feed(what, std::make_exception_ptr(std::move(error)));
    return;
  }
  want_later(what, error.retry_after);
  tell(error, what->channel);
}

void client_core::on_ended_by_server(const json::object& message) {
  const auto found = feeds_.find(text_of(message, "channel"));
  if (found == feeds_.end()) return;
  const auto what = found->second;
  on_refused(what, request_error{std::string{text_of(message, "code")}, "the server ended the subscription"});
}

void client_core::on_publication(std::string_view channel, json::object message, const skein::message& text) {
  const auto at = position_of(message);
  const bool presence = text_of(message, "type") == "presence_change";
  std::vector<std::shared_ptr<feed>> followers;
  if (const auto exact = feeds_.find(channel); exact != feeds_.end()) followers.push_back(exact->second);
  for (const auto& each : in_order_) {
    if (each->pattern && each->channel != channel && topic_matches(each->channel, channel))
      followers.push_back(each);
  }
  for (const auto& each : followers) {
    if (!each->live) continue;  // of a subscription before this one
    const auto step = at.epoch.empty() ? 1 : move_to(*each, channel, at);
    if (step == 0) {
      ++stats_.repeats;  // what is recovered for others may have been here before
      continue;
    }
    if (step > 1) {
      feed_item gap;
      gap.gap = true;
      gap.channel = channel;
      gap.position = {at.epoch, at.offset - 1};
      gap.missing = step - 1;
      for (auto* const reader : each->readers) {
        ++stats_.gaps;
        give(*reader, gap);
      }
    }
    if (!presence) ++stats_.publications;
    for (auto* const reader : each->readers) {
      feed_item item;
      item.data = message;
      item.text = text;
      item.presence = presence;
      item.position = at;
      give(*reader, std::move(item));
    }
  }
}

std::uint64_t client_core::move_to(feed& what, std::string_view topic, const topic_position& to) {
  if (what.pattern) {
    auto& last = what.positions.of(topic);
    const bool known = last.at.epoch == to.epoch;
    if (known && to.offset <= last.at.offset) return 0;
    const auto step = known && last.confirmed == what.confirmed ? to.offset - last.at.offset : 1;
    last = {to, what.confirmed};
    return step;
  }
  if (!what.position) what.position.emplace();
  auto& last = *what.position;
  const bool known = last.epoch == to.epoch;
  if (known && to.offset <= last.offset) return 0;
  const auto step = known ? to.offset - last.offset : 1;
  last = to;
  return step;
}

void client_core::give_gap(const feed& from, feed_reader& to) {
  feed_item item;
  item.gap = true;
  item.channel = from.channel;
  if (from.position) item.position = *from.position;
  ++stats_.gaps;
  give(to, std::move(item));
}

void client_core::give(feed_reader& to, feed_item item) {
  auto& items = to.items;
  const bool gap_in_front = !items.empty() && items.front().gap;
  if (items.size() - (gap_in_front ? 1 : 0) >= options_.max_waiting) {
    // The oldest makes room, and a gap says so in its place.
    auto& oldest = items[gap_in_front ? 1 : 0];
    feed_item gap;
    gap.gap = true;
    gap.channel = to.channel;
    gap.position = oldest.position;
    oldest = std::move(gap);
    if (gap_in_front) {
      items.pop_front();
    } else {
      ++stats_.gaps;
    }
  }
  items.push_back(std::move(item));
  to.changed.notify();
}

void client_core::end_feed(const std::shared_ptr<feed>& what, const std::exception_ptr& why) {
  const auto keep = what;  // NOLINT: `what` may be in what is erased
  feeds_.erase(keep->channel);
  std::erase(in_order_, keep);
  settle(keep);
  for (auto* const reader : std::exchange(keep->readers, {})) {
    reader->source = nullptr;
    reader->failure = why;
    reader->changed.notify();
  }
}

void client_core::end_all_feeds() {
  while (!in_order_.empty()) end_feed(in_order_.back(), nullptr);
}

}  // namespace skein::detail
