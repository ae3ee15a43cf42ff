#pragma once

// Which connections follow which names, on one shard: topics and patterns of topics, or users. Plain state.
// What a lookup costs depends on who is found and on the number of the name's tokens, not on how many names
// or connections there are: an exact name is found by its hash, patterns by walking down a tree of their
// tokens. Beginnings of patterns that match the name cost a step each, found or not: 16 tokens have 65,536
// beginnings with `*`, if that many were subscribed to.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace skein::detail {

class connection_impl;

class follower_index {
 public:
  /// Whether names may be patterns (topics.hpp), or mean nothing but themselves.
  enum class names : bool { plain, patterns };
  explicit follower_index(names kind) noexcept : kind_(kind) {}
  follower_index(const follower_index&) = delete;
  follower_index& operator=(const follower_index&) = delete;

  /// False if there is this subscription already. A pattern must be well formed.
  bool add(connection_impl& who, std::string_view pattern);
  /// False if there is no such subscription.
  bool remove(const connection_impl& who, std::string_view pattern);
  /// Ends all subscriptions of a connection.
  void remove(const connection_impl& who) noexcept;
  void clear() noexcept {
    while (!subscribers_.empty()) remove(*subscribers_.begin()->first);
  }

  /// Puts everybody who follows the topic behind what is in `found`, each once.
  void match(std::string_view topic, std::vector<connection_impl*>& found);

  /// Likewise everybody with a subscription of exactly this name.
  void match_exactly(std::string_view name, std::vector<connection_impl*>& found) const;

  [[nodiscard]] std::size_t count(const connection_impl& who) const noexcept;
  [[nodiscard]] bool has(const connection_impl& who, std::string_view pattern) const noexcept;
  /// Sorted.
  [[nodiscard]] std::vector<std::string> patterns(const connection_impl& who) const;

  // In all.
  [[nodiscard]] std::size_t subscriptions() const noexcept { return subscriptions_; }
  [[nodiscard]] std::size_t subscribers() const noexcept { return subscribers_.size(); }
  [[nodiscard]] std::size_t topics() const noexcept { return lists_.size(); }

 private:
  struct list;
  struct subscriber;
  /// One subscription, as its topic knows it: and where the subscriber keeps it.
  struct member {
    connection_impl* connection;
    subscriber* who;
    std::size_t slot;
  };
  struct list {
    const std::string* name = nullptr;
    std::vector<member> members;
  };
  /// One subscription, as its subscriber knows it.
  struct place {
    list* in;
    std::size_t index;
  };
  struct subscriber {
    std::vector<place> places;
    std::uint64_t seen_in = 0;  // the last publication it was found for by several lists
  };
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  template <class T>
  using by_text = std::unordered_map<std::string, T, text_hash, std::equal_to<>>;
  /// A node of the tree of patterns. Only patterns with wildcards are in it.
  struct node {
    by_text<std::unique_ptr<node>> children;  // `*` among them
    list* ends_here = nullptr;
    list* goes_on = nullptr;  // `>` behind this
    [[nodiscard]] bool unused() const noexcept { return children.empty() && !ends_here && !goes_on; }
  };

  [[nodiscard]] list& list_of(std::string_view pattern);
  void leave(const place& left) noexcept;
  void plant(std::string_view pattern, list* what);
  bool uproot(node& from, std::string_view rest) noexcept;
  void walk(const node& from, std::string_view rest);
  [[nodiscard]] bool is_pattern(std::string_view name) const noexcept;

  by_text<list> lists_;
  std::unordered_map<const connection_impl*, subscriber> subscribers_;
  node patterns_;
  std::vector<const list*> matched_;  // while matching
  std::uint64_t publication_ = 0;
  names kind_;
  std::size_t subscriptions_ = 0;
};

}  // namespace skein::detail
