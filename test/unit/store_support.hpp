#pragma once

// What the tests of message stores share: a store that is called without co_await, and a simple model.

#include <skein/error.hpp>
#include <skein/message_store.hpp>
#include <skein/testing.hpp>

#include <boost/system/system_error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace skein::test {

using namespace std::chrono_literals;
using strings = std::vector<std::string>;

[[nodiscard]] inline strings texts(const history_page& page) {
  strings all;
  for (const auto& each : page.publications) all.emplace_back(each.what.payload());
  return all;
}
[[nodiscard]] inline strings texts(const std::vector<stored_message>& page) {
  strings all;
  for (const auto& each : page) all.emplace_back(each.what.payload());
  return all;
}

/// What `call` fails with; nothing if it succeeds.
template <class Call>
[[nodiscard]] error_code error_of(Call call) {
  try {
    call();
  } catch (const boost::system::system_error& error) {
    return error.code();
  }
  return {};
}

/// A store and its clock; the calls run to their end.
struct store_caller {
  std::shared_ptr<testing::virtual_clock> time = std::make_shared<testing::virtual_clock>();
  std::shared_ptr<message_store> store;

  template <class T>
  static T await(asio::awaitable<T> call) {
    return testing::run(std::move(call), 60s);
  }
  topic_position append(std::string topic, std::string text, history_limits limits = {}) const {
    return await(store->append(std::move(topic), message::text(std::move(text)), limits));
  }
  [[nodiscard]] history_page read(std::string topic, topic_position since, page_limits most = {}) const {
    return await(store->read(std::move(topic), std::move(since), most));
  }
  /// All that is kept.
  [[nodiscard]] strings history(std::string topic) const {
    return texts(read(std::move(topic), {}, {.max_messages = 100'000, .max_bytes = 0}));
  }
  [[nodiscard]] topic_position position(std::string topic) const {
    return await(store->position(std::move(topic)));
  }
  bool forget(std::string topic) const { return await(store->forget(std::move(topic))); }
  kept_message keep(std::string user, std::string text, offline_limits limits = {}) const {
    return await(store->keep(std::move(user), message::text(std::move(text)), limits));
  }
  [[nodiscard]] std::vector<stored_message> waiting(std::string user, stored_id after = 0,
                                                    page_limits most = {.max_messages = 100'000,
                                                                        .max_bytes = 0}) const {
    return await(store->waiting(std::move(user), after, most));
  }
  bool acknowledge(std::string user, stored_id id) const {
    return await(store->acknowledge(std::move(user), id));
  }
};

/// Two that are always the same, and one of the moment.
[[nodiscard]] inline std::vector<unsigned> model_seeds() {
  return {1, 2, std::random_device{}()};
}

/// Everything that a store keeps, in the simplest way.
class store_model {
 public:
  struct topic {
    std::string epoch;
    std::uint64_t last = 0;
    wall_time last_at = wall_time::min();
    std::chrono::nanoseconds max_age{0};
    std::vector<std::pair<std::string, wall_time>> kept;  // the last has offset `last`
    [[nodiscard]] std::uint64_t first() const { return last + 1 - kept.size(); }
  };
  struct waiting_message {
    stored_id id;
    std::string text;
    wall_time end;
  };

  std::map<std::string, topic> topics;            // that were begun
  std::map<std::string, std::string> next_epoch;  // as the store has told it of topics that were not
  std::map<std::string, std::vector<waiting_message>> users;
  std::set<std::string> epochs;
  topic none;
  stored_id last_id = 0;

  /// The topic, once the store has named its epoch; `none` if it is not there.
  topic& seen(const std::string& name, const std::string& epoch) {
    if (const auto there = topics.find(name); there != topics.end()) {
      CHECK(there->second.epoch == epoch);
      return there->second;
    }
    CHECK(!epochs.contains(epoch));
    CHECK(next_epoch.try_emplace(name, epoch).first->second == epoch);
    none = {};
    none.epoch = epoch;
    return none;
  }
  /// It is there now, if it was not before.
  topic& begun(const std::string& name, const std::string& epoch) {
    const bool is_new = !topics.contains(name);
    auto& of = seen(name, epoch);
    if (!is_new) return of;
    CHECK(epochs.insert(epoch).second);
    next_epoch.erase(name);
    return topics[name] = of;
  }
  bool forget(const std::string& name) {
    if (topics.erase(name) == 0) return false;
    next_epoch.clear();
    return true;
  }
  static void trim(topic& of, const history_limits& limits, wall_time now) {
    const auto bytes = [&] {
      std::size_t all = 0;
      for (const auto& each : of.kept) all += each.first.size();
      return all;
    };
    while (!of.kept.empty() &&
           (of.kept.size() > limits.max_messages || (limits.max_bytes != 0 && bytes() > limits.max_bytes) ||
            (limits.max_age > 0ns && of.kept.front().second <= now - limits.max_age))) {
      of.kept.erase(of.kept.begin());
    }
  }
  static void trim_age(topic& of, wall_time now) {
    trim(of, {.max_messages = of.kept.size(), .max_bytes = 0, .max_age = of.max_age}, now);
  }
  void expire(wall_time now) {
    for (auto& [name, box] : users) std::erase_if(box, [&](const auto& each) { return each.end <= now; });
  }
};

/// Does `steps` random things to a store and to the model, and compares what they answer.
inline void run_model(const store_caller& f, unsigned seed, int steps) {
  std::mt19937 random{seed};
  const auto pick = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>{0, most}(random);
  };
  store_model model;
  const auto name = [&] { return std::string(1, static_cast<char>('a' + pick(3))); };
  const auto text = [&] { return std::string(pick(20), 'x') + std::to_string(pick(999)); };

  const auto append = [&](const std::string& topic) {
    const history_limits limits{pick(6), pick(1) * (1 + pick(60)),
                                pick(1) * std::chrono::seconds{1 + pick(30)}};
    const auto payload = text();
    const auto at = f.append(topic, payload, limits);
    auto& of = model.begun(topic, at.epoch);
    store_model::trim_age(of, f.time->wall_now());
    of.last_at = std::max(of.last_at, f.time->wall_now());
    of.max_age = limits.max_age;
    of.kept.emplace_back(payload, of.last_at);
    ++of.last;
    store_model::trim(of, limits, f.time->wall_now());
    CHECK(at.offset == of.last);
  };
  const auto read = [&](const std::string& topic) {
    const auto there = model.topics.find(topic);
    const auto& known = there == model.topics.end() ? store_model::topic{} : there->second;
    const auto& told = model.next_epoch[topic];
    const topic_position since{pick(4) == 0          ? "another"
                               : known.epoch.empty() ? told
                                                     : known.epoch,
                               pick(known.last + 2)};
    if (told.empty()) model.next_epoch.erase(topic);
    const page_limits most{pick(5), pick(60)};
    const auto page = f.read(topic, since, most);
    auto& of = model.seen(topic, page.current.epoch);
    store_model::trim_age(of, f.time->wall_now());
    CHECK(page.current.offset == of.last);
    const bool known_place = since.epoch == of.epoch && since.offset <= of.last;
    CHECK(page.recovered == (known_place && since.offset + 1 >= of.first()));
    auto offset = page.recovered ? since.offset + 1 : of.first();
    std::size_t bytes = 0;
    for (const auto& each : page.publications) {
      REQUIRE(offset <= of.last);
      const auto& [payload, at] = of.kept[offset - of.first()];
      CHECK(each.offset == offset++);
      CHECK(each.what.payload() == payload);
      CHECK(each.published_at == at);
      bytes += payload.size();
    }
    CHECK(page.more == (offset <= of.last));
    CHECK(page.publications.size() <= most.max_messages);
    if (page.publications.size() > 1 && most.max_bytes != 0) CHECK(bytes <= most.max_bytes);
    if (page.more && page.publications.size() < most.max_messages) {
      CHECK(bytes + of.kept[offset - of.first()].first.size() > most.max_bytes);
    }
  };
  const auto keep = [&](const std::string& user) {
    const offline_limits limits{1 + pick(6), pick(1) * (30 + pick(60)),
                                pick(1) * std::chrono::seconds{1 + pick(30)}};
    const auto payload = text();
    model.expire(f.time->wall_now());
    auto& box = model.users[user];
    const auto kept = f.keep(user, payload, limits);
    CHECK(kept.id > model.last_id);
    model.last_id = kept.id;
    const auto size = box.size();
    const auto bytes = [&] {
      auto all = payload.size();
      for (const auto& each : box) all += each.text.size();
      return all;
    };
    while (!box.empty() &&
           (box.size() >= limits.max_messages || (limits.max_bytes != 0 && bytes() > limits.max_bytes))) {
      box.erase(box.begin());
    }
    CHECK(kept.pushed_out == size - box.size());
    const auto end = limits.expiry > 0ns ? f.time->wall_now() + limits.expiry : wall_time::max();
    box.push_back({kept.id, payload, end});
  };
  const auto waiting = [&](const std::string& user) {
    model.expire(f.time->wall_now());
    const auto& box = model.users[user];
    const auto after = box.empty() ? stored_id{0} : box[pick(box.size() - 1)].id - pick(1);
    const auto most = pick(6);
    const auto page = f.waiting(user, after, {.max_messages = most, .max_bytes = 0});
    std::vector<store_model::waiting_message> expected;
    for (const auto& each : box) {
      if (each.id > after && expected.size() < most) expected.push_back(each);
    }
    REQUIRE(page.size() == expected.size());
    for (std::size_t i = 0; i < page.size(); ++i) {
      CHECK(page[i].id == expected[i].id);
      CHECK(page[i].what.payload() == expected[i].text);
    }
  };
  const auto acknowledge = [&](const std::string& user) {
    auto& box = model.users[user];
    const auto id = box.empty() ? model.last_id : box[pick(box.size() - 1)].id;
    model.expire(f.time->wall_now());
    const bool there = std::erase_if(box, [&](const auto& each) { return each.id == id; }) == 1;
    CHECK(f.acknowledge(user, id) == there);
  };

  for (int step = 0; step < steps; ++step) {
    CAPTURE(step);
    const auto who = name();
    switch (pick(19)) {
      case 0:
        CHECK(f.forget(who) == model.forget(who));
        break;
      case 1:
        model.seen(who, f.position(who).epoch);
        break;
      case 2:
        f.time->advance(std::chrono::seconds{pick(10)});
        break;
      case 3:
      case 4:
      case 5:
      case 6:
        read(who);
        break;
      case 7:
      case 8:
      case 9:
        waiting(who);
        break;
      case 10:
      case 11:
        acknowledge(who);
        break;
      case 12:
      case 13:
      case 14:
      case 15:
        keep(who);
        break;
      default:
        append(who);
    }
  }
}

}  // namespace skein::test
