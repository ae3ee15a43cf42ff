// Names of topics, and who follows what.

#include "hub/follower_index.hpp"

#include <skein/topics.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace skein;
using detail::connection_impl;
using detail::follower_index;

namespace {

/// Connections that are only ever pointed at.
class crowd {
 public:
  [[nodiscard]] connection_impl& operator[](std::size_t i) {
    return *reinterpret_cast<connection_impl*>(&places_.at(i));
  }
  [[nodiscard]] std::size_t number(const connection_impl* who) const {
    return static_cast<std::size_t>(reinterpret_cast<const place*>(who) - places_.data());
  }

 private:
  struct alignas(16) place {
    std::array<char, 16> nothing;
  };
  std::vector<place> places_{std::vector<place>(20'000)};
};

std::vector<std::size_t> followers(follower_index& index, const crowd& all, std::string_view topic) {
  std::vector<connection_impl*> found;
  index.match(topic, found);
  std::vector<std::size_t> numbers;
  for (const auto* one : found) numbers.push_back(all.number(one));
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

using numbers = std::vector<std::size_t>;

std::string tokens(std::size_t count) {
  std::string name = "t";
  for (std::size_t i = 1; i < count; ++i) name += ".t";
  return name;
}

}  // namespace

TEST_SUITE("topic names") {
  TEST_CASE("what may be published to") {
    for (const auto* good : {"a", "market.AAPL", "a.b.c", "orders.42-x_Y", "\xc3\xa9t\xc3\xa9", "a.$b", "-"})
      CHECK(is_topic(good));
    for (const auto* bad : {"", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\nb", "\x01", "a\x7f", "*", ">",
                            "a.*", "a.>", "a*", "x>y"})
      CHECK(!is_topic(bad));
    CHECK(!is_topic(std::string_view{"a\0b", 3}));
  }

  TEST_CASE("what may be subscribed to") {
    for (const auto* good : {"a", "a.b", "*", ">", "a.*", "*.b", "a.*.c", "a.>", "*.>", "*.*"})
      CHECK(is_topic_pattern(good));
    for (const auto* bad :
         {"", ".", "a.", ".*", "a..>", ">.a", "a.>.b", "a*", "*a", "a.b>", ">>", "**", "a. "})
      CHECK(!is_topic_pattern(bad));
  }

  TEST_CASE("at most 255 bytes and 16 tokens") {
    for (const auto size : {max_topic_bytes - 1, max_topic_bytes, max_topic_bytes + 1}) {
      CHECK(is_topic(std::string(size, 'a')) == (size <= max_topic_bytes));
      CHECK(is_topic_pattern(std::string(size - 2, 'a') + ".>") == (size <= max_topic_bytes));
    }
    for (const auto count : {max_topic_tokens - 1, max_topic_tokens, max_topic_tokens + 1}) {
      CHECK(is_topic(tokens(count)) == (count <= max_topic_tokens));
      CHECK(is_topic_pattern(tokens(count - 1) + ".*") == (count <= max_topic_tokens));
    }
  }

  TEST_CASE("which topics a pattern follows") {
    struct row {
      const char* pattern;
      const char* topic;
      bool follows;
    };
    for (const auto& [pattern, topic, follows] : std::initializer_list<row>{
             {"a", "a", true},         {"a", "b", false},         {"a", "a.b", false},
             {"a.b", "a", false},      {"a.b", "a.b", true},      {"*", "a", true},
             {"*", "a.b", false},      {"a.*", "a", false},       {"a.*", "a.b", true},
             {"a.*", "a.b.c", false},  {"*.b", "a.b", true},      {"*.b", "a.c", false},
             {"a.*.c", "a.x.c", true}, {"a.*.c", "a.x.d", false}, {">", "a", true},
             {">", "a.b.c", true},     {"a.>", "a", false},       {"a.>", "a.b", true},
             {"a.>", "a.b.c.d", true}, {"a.>", "b.c", false},     {"*.>", "a", false},
             {"*.>", "a.b", true},     {"a.*.>", "a.b", false},   {"a.*.>", "a.b.c", true},
             {"ab", "a", false},       {"a", "ab", false},        {"*.*", "a.b", true},
         }) {
      CAPTURE(pattern);
      CAPTURE(topic);
      CHECK(topic_matches(pattern, topic) == follows);
      crowd all;
      follower_index index{follower_index::names::patterns};
      index.add(all[0], pattern);
      CHECK(followers(index, all, topic).size() == (follows ? 1 : 0));
    }
  }
}

TEST_SUITE("follower index") {
  TEST_CASE("whoever follows a topic by several subscriptions is found once") {
    crowd all;
    follower_index index{follower_index::names::patterns};
    for (const auto* pattern : {"a.b", "a.*", "*.b", "*.*", "a.>", ">"}) CHECK(index.add(all[1], pattern));
    CHECK(index.add(all[2], "a.*"));
    CHECK(followers(index, all, "a.b") == numbers{1, 2});
    CHECK(followers(index, all, "a.c") == numbers{1, 2});
    CHECK(followers(index, all, "c.b") == numbers{1});
    CHECK(index.subscriptions() == 7);
    CHECK(index.subscribers() == 2);
    CHECK(index.topics() == 6);
  }

  TEST_CASE("a subscription is there once, and goes once") {
    crowd all;
    follower_index index{follower_index::names::patterns};
    CHECK(index.add(all[0], "a"));
    CHECK(!index.add(all[0], "a"));
    CHECK(index.count(all[0]) == 1);
    CHECK(!index.remove(all[0], "b"));
    CHECK(!index.remove(all[1], "a"));
    CHECK(index.remove(all[0], "a"));
    CHECK(!index.remove(all[0], "a"));
    CHECK(index.subscriptions() == 0);
    CHECK(index.subscribers() == 0);
    CHECK(index.topics() == 0);
    CHECK(followers(index, all, "a").empty());
  }

  TEST_CASE("against a plain list of who said what, over thousands of random histories") {
    const std::array<std::string, 4> words{"a", "b", "c", "dd"};
    for (unsigned seed = 0; seed < 3'000; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      const auto up_to = [&random](std::size_t most) {
        return std::uniform_int_distribution<std::size_t>{0, most}(random);
      };
      const auto name = [&](bool pattern) {
        std::string all;
        const auto depth = 1 + up_to(3);
        for (std::size_t i = 0; i < depth; ++i) {
          if (i > 0) all += '.';
          if (pattern && up_to(4) == 0) {
            all += '*';
          } else if (pattern && i + 1 == depth && up_to(4) == 0) {
            all += '>';
          } else {
            all += words.at(up_to(words.size() - 1));
          }
        }
        return all;
      };
      crowd all;
      follower_index index{follower_index::names::patterns};
      std::map<std::size_t, std::set<std::string>> model;
      for (int step = 0; step < 60; ++step) {
        const auto who = up_to(5);
        const auto pattern = name(true);
        switch (up_to(9)) {
          case 0:
            index.remove(all[who]);
            model.erase(who);
            break;
          case 1:
          case 2:
          case 3: {
            const auto mine = model.find(who);
            REQUIRE(index.remove(all[who], pattern) ==
                    (mine != model.end() && mine->second.erase(pattern) > 0));
            if (mine != model.end() && mine->second.empty()) model.erase(mine);
            break;
          }
          default:
            REQUIRE(index.add(all[who], pattern) == model[who].insert(pattern).second);
        }
        const auto topic = name(false);
        numbers expected;
        std::size_t subscriptions = 0;
        std::set<std::string> distinct;
        for (const auto& [number, patterns] : model) {
          subscriptions += patterns.size();
          distinct.insert(patterns.begin(), patterns.end());
          if (std::any_of(patterns.begin(), patterns.end(),
                          [&](const auto& one) { return topic_matches(one, topic); })) {
            expected.push_back(number);
          }
          REQUIRE(index.count(all[number]) == patterns.size());
          REQUIRE(index.patterns(all[number]) == std::vector(patterns.begin(), patterns.end()));
        }
        REQUIRE(followers(index, all, topic) == expected);
        REQUIRE(index.subscriptions() == subscriptions);
        REQUIRE(index.subscribers() == model.size());
        REQUIRE(index.topics() == distinct.size());
      }
    }
  }

  TEST_CASE("thousands of followers and of topics come and go") {
    crowd all;
    follower_index index{follower_index::names::patterns};
    for (std::size_t i = 0; i < 20'000; ++i) {
      index.add(all[i], "everybody");
      index.add(all[i], "own." + std::to_string(i));
      if (i % 100 == 0) index.add(all[i], "own.*");
    }
    CHECK(followers(index, all, "everybody").size() == 20'000);
    CHECK(followers(index, all, "own.150") == [] {
      numbers expected;
      for (std::size_t i = 0; i < 20'000; i += 100) expected.push_back(i);
      expected.insert(std::upper_bound(expected.begin(), expected.end(), 150U), 150U);
      return expected;
    }());
    for (std::size_t i = 0; i < 20'000; ++i) {
      if (i % 2 == 0) index.remove(all[i]);
    }
    CHECK(followers(index, all, "everybody").size() == 10'000);
    CHECK(followers(index, all, "own.151") == numbers{151});
    for (std::size_t i = 1; i < 20'000; i += 2) index.remove(all[i]);
    CHECK(index.topics() == 0);
    CHECK(index.subscriptions() == 0);
  }

  TEST_CASE("a plain name means nothing but itself") {
    crowd all;
    follower_index index{follower_index::names::plain};
    for (const auto* name : {"*", ">", "a.b", "a.*", " ", "."}) CHECK(index.add(all[1], name));
    CHECK(index.add(all[2], "a.b"));
    CHECK(followers(index, all, "a.b") == numbers{1, 2});
    CHECK(followers(index, all, "a.*") == numbers{1});
    CHECK(followers(index, all, "*") == numbers{1});
    CHECK(followers(index, all, "a.c").empty());
    CHECK(followers(index, all, "").empty());
    index.remove(all[1]);
    CHECK(index.topics() == 1);
  }
}
