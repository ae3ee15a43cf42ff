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
  if (!known) {
    known = std::make_shared<feed>();
    known->pattern = channel.find_first_of("*>") != std::string::npos;
    known->channel = std::move(channel);
    known->position = std::move(how.since);
    known->info = std::move(how.info);
    in_order_.push_back(known);
    if (welcomed_) ask(known);
  }
  reader->source = known;
  known->readers.push_back(reader.get());
  return reader;
}

void client_core::unsubscribe(feed_reader& reader) {
  const auto from = std::exchange(reader.source, nullptr);
  if (!from) return;
  std::erase(from->readers, &reader);
  reader.changed.notify();
  if (!from->readers.empty()) return;
  feeds_.erase(from->channel);
  std::erase(in_order_, from);
  from->again.reset();
  if (!welcomed_) return;
  send(json::serialize(json::object{{"type", "unsubscribe"}, {"id", next_id()}, {"channel", from->channel}}));
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

void client_core::ask(const std::shared_ptr<feed>& what) {
  what->asked = next_id();
  json::object request{{"type", "subscribe"}, {"id", what->asked}, {"channel", what->channel}};
  if (what->position && !what->position->epoch.empty() && !what->pattern) {
    request["recover"] = {{"epoch", what->position->epoch}, {"offset", what->position->offset}};
  }
  if (what->info) request["info"] = *what->info;
  send(json::serialize(request));
}

bool client_core::answers_a_feed(const std::string& id, const json::object& answer) {
  const auto found = std::ranges::find(in_order_, id, &feed::asked);
  if (found == in_order_.end()) return false;
  const auto what = *found;
  what->asked.clear();
  if (text_of(answer, "type") == "subscribed") {
    on_subscribed(*what, answer);
  } else {
    on_refused(what, answer);
  }
  return true;
}

void client_core::on_subscribed(feed& what, const json::object& answer) {
  const auto now = position_of(answer);
  const auto* const recovered = answer.if_contains("recovered");
  const bool complete = recovered != nullptr && recovered->is_bool() && recovered->get_bool();
  const bool missed = !complete && (what.lived || what.position);
  what.live = what.lived = true;
  // What is recovered comes from where it was left.
  if (!complete && !now.epoch.empty()) what.position = now;
  if (missed) give_gap(what);
}

void client_core::on_refused(const std::shared_ptr<feed>& what, const json::object& answer) {
  auto error = to_error(answer);
  if (error.retry_after.count() == 0) {
    end_feed(what, std::make_exception_ptr(std::move(error)));
    return;
  }
  what->again = options_.time->make_alarm(executor_, [this, weak = std::weak_ptr{what}] {
    const auto again = weak.lock();
    if (again && welcomed_ && !again->live && again->asked.empty()) ask(again);
  });
  what->again->set(deadline_after(options_.time->now(), error.retry_after));
}

void client_core::on_ended_by_server(const json::object& message) {
  const auto found = feeds_.find(text_of(message, "channel"));
  if (found == feeds_.end()) return;
  request_error why{std::string{text_of(message, "code")}, "the server ended the subscription"};
  end_feed(found->second, std::make_exception_ptr(std::move(why)));
}

void client_core::on_publication(std::string_view channel, json::object message) {
  const auto at = position_of(message);
  std::vector<std::shared_ptr<feed>> followers;
  if (const auto exact = feeds_.find(channel); exact != feeds_.end()) followers.push_back(exact->second);
  for (const auto& each : in_order_) {
    if (each->pattern && each->channel != channel && topic_matches(each->channel, channel))
      followers.push_back(each);
  }
  for (const auto& each : followers) {
    if (!each->live) continue;  // of a subscription before this one
    if (!each->pattern && !at.epoch.empty()) {
      const bool seen =
          each->position && each->position->epoch == at.epoch && at.offset <= each->position->offset;
      if (seen) {
        ++stats_.repeats;
        continue;
      }
      each->position = at;
    }
    ++stats_.publications;
    for (auto* const reader : each->readers) {
      feed_item item;
      item.data = message;
      item.position = at;
      give(*reader, std::move(item));
    }
  }
}

void client_core::give_gap(feed& what) {
  for (auto* const reader : what.readers) {
    feed_item item;
    item.gap = true;
    if (what.position) item.position = *what.position;
    ++stats_.gaps;
    give(*reader, std::move(item));
  }
}

void client_core::give(feed_reader& to, feed_item item) {
  auto& items = to.items;
  const bool gap_in_front = !items.empty() && items.front().gap;
  if (items.size() - (gap_in_front ? 1 : 0) >= options_.max_waiting) {
    // The oldest makes room, and a gap says so in its place.
    auto& oldest = items[gap_in_front ? 1 : 0];
    feed_item gap;
    gap.gap = true;
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
  const auto keep = what;
  feeds_.erase(keep->channel);
  std::erase(in_order_, keep);
  keep->again.reset();
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
