#pragma once

// What stands between the engine and the handler: how fast messages may come, and what they must be. Plain
// state; `now` is passed in. Only connections to which such rules apply have a guard.

#include <skein/inbound.hpp>
#include <skein/message.hpp>
#include <skein/validation.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

/// The rate of a user over all connections. Thread-safe.
class user_rate {
 public:
  virtual ~user_rate() = default;
  [[nodiscard]] virtual const rate& limit() const noexcept = 0;
  [[nodiscard]] virtual rate_verdict take(std::string_view user, time_point now) noexcept = 0;
};

/// The rules of a route, shared by its connections.
struct inbound_rules {
  rate messages;
  rate bytes;
  std::shared_ptr<user_rate> users;  ///< empty: no rate
  std::shared_ptr<const message_validator> validator;

  [[nodiscard]] bool any() const noexcept {
    return !messages.is_off() || !bytes.is_off() || users || validator;
  }
};

class inbound_guard {
 public:
  /// The third time is the last.
  static constexpr int most_offences = 3;

  /// Either may be empty. `place` is something that the connection holds until its end.
  inbound_guard(std::shared_ptr<const inbound_rules> rules, std::shared_ptr<void> place) noexcept
      : rules_(std::move(rules)), place_(std::move(place)) {}

  enum class offence : std::uint8_t { too_fast, invalid };
  struct objection {
    offence what;
    bool last;           ///< close with 1008
    std::string answer;  ///< the error message in JSON; with `last` the text of the close frame
  };
  /// What is wrong with a message that has arrived; nothing if the handler may have it. `validate`: with what
  /// the route's messages must be, too.
  [[nodiscard]] std::optional<objection> judge(const message& what, std::string_view user, bool validate,
                                               time_point now);

  [[nodiscard]] const inbound_rules* rules() const noexcept { return rules_.get(); }

  /// Lets go of what was held.
  void leave() noexcept { place_.reset(); }

 private:
  std::optional<objection> slow_down(const message& what, std::string_view limit, const rate& past,
                                     rate_verdict verdict, time_point now);

  std::shared_ptr<const inbound_rules> rules_;
  std::shared_ptr<void> place_;
  skein::token_bucket messages_;
  skein::token_bucket bytes_;
  time_point calm_at_{};       // when the offences of the first kind will be forgotten
  std::uint8_t too_fast_ = 0;  // offences
  std::uint8_t invalid_ = 0;
};

}  // namespace skein::detail
