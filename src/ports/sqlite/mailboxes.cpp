#include "ports/sqlite/mailboxes.hpp"

#include "ports/history_rules.hpp"
#include "ports/sqlite/history.hpp"

#include <algorithm>

namespace skein::detail::sqlite {

mailboxes::mailboxes(connection& in)
    : find_(in, "SELECT id, messages, bytes, next_end FROM mailboxes WHERE user = ?"),
      make_(in, "INSERT INTO mailboxes (user, messages, bytes, next_end) VALUES (?, 0, 0, ?) RETURNING id"),
      save_(in, "UPDATE mailboxes SET messages = ?, bytes = ?, next_end = ? WHERE id = ?"),
      remove_(in, "DELETE FROM mailboxes WHERE id = ?"),
      ended_(in,
             "SELECT id, messages, bytes, next_end FROM mailboxes WHERE next_end <= ? "
             "ORDER BY next_end LIMIT ?"),
      insert_(
          in,
          "INSERT INTO offline (mailbox, id, kept_at, ends_at, opcode, payload) VALUES (?, ?, ?, ?, ?, ?)"),
      oldest_(in, "SELECT id, length(payload) FROM offline WHERE mailbox = ? ORDER BY id"),
      page_(in,
            "SELECT id, kept_at, length(payload), opcode, payload FROM offline "
            "WHERE mailbox = ? AND id > ? AND ends_at > ? ORDER BY id"),
      one_(in, "SELECT length(payload) FROM offline WHERE mailbox = ? AND id = ? AND ends_at > ?"),
      delete_one_(in, "DELETE FROM offline WHERE mailbox = ? AND id = ?"),
      delete_oldest_(in, "DELETE FROM offline WHERE mailbox = ? AND id <= ?"),
      count_ended_(in,
                   "SELECT count(*), coalesce(sum(length(payload)), 0) FROM offline "
                   "WHERE mailbox = ? AND ends_at <= ?"),
      delete_ended_(in, "DELETE FROM offline WHERE mailbox = ? AND ends_at <= ?"),
      next_end_(in, "SELECT min(ends_at) FROM offline WHERE mailbox = ?"),
      next_id_(in, "UPDATE ids SET next = next + 1 RETURNING next - 1") {}

kept_message mailboxes::keep(const std::string& user, const prepared_message& what,
                             const offline_limits& limits, wall_time now, store_stats& counted) {
  const auto size = what.size();
  const auto end = end_of(now, limits.expiry);
  mailbox box;
  if (const auto found = find(user)) {
    box = *found;
    expire(box, now, counted);
  } else {
    statement::use row{make_, user, to_column(end)};
    row.step_to_row();
    box.id = row.number(0);
    row.step();  // to its end
  }
  kept_message result;
  result.pushed_out = make_room(box, size, limits);
  result.id = next_id();
  insert_.run(box.id, result.id, to_column(now), to_column(end), static_cast<int>(what.type()),
              what.payload());
  ++box.messages;
  box.bytes += size;
  box.next_end = std::min(box.next_end, end);
  save(box);
  ++counted.kept;
  counted.bytes_in += size;
  counted.pushed_out += result.pushed_out;
  return result;
}

std::vector<stored_message> mailboxes::waiting(const std::string& user, stored_id after, page_limits most,
                                               wall_time now) {
  std::vector<stored_message> page;
  const auto box = find(user);
  if (!box) return page;
  page_room room{most};
  statement::use rows{page_, box->id, after, to_column(now)};
  while (rows.step() && room.take(static_cast<std::size_t>(rows.number(2)))) {
    page.push_back({rows.count(0), to_time(rows.number(1)), to_message(rows, 3, 4)});
  }
  return page;
}

bool mailboxes::acknowledge(const std::string& user, stored_id id, wall_time now, store_stats& counted) {
  auto box = find(user);
  if (!box) return false;
  std::uint64_t size = 0;
  {
    statement::use row{one_, box->id, id, to_column(now)};
    if (!row.step()) return false;
    size = row.count(0);
  }
  delete_one_.run(box->id, id);
  --box->messages;
  box->bytes -= size;
  save(*box);
  ++counted.acknowledged;
  return true;
}

bool mailboxes::sweep(std::size_t most, wall_time now, store_stats& counted) {
  std::vector<mailbox> page;
  {
    statement::use rows{ended_, to_column(now), most};
    while (rows.step()) page.push_back(to_mailbox(rows));
  }
  for (auto& each : page) {
    expire(each, now, counted);
    save(each);
  }
  return page.size() < most;
}

mailboxes::mailbox mailboxes::to_mailbox(const statement::use& row) {
  return {row.number(0), row.count(1), row.count(2), to_time(row.number(3))};
}

std::optional<mailboxes::mailbox> mailboxes::find(const std::string& user) {
  statement::use row{find_, user};
  if (!row.step()) return std::nullopt;
  return to_mailbox(row);
}

void mailboxes::expire(mailbox& of, wall_time now, store_stats& counted) {
  if (!is_over(of.next_end, now)) return;
  {
    statement::use row{count_ended_, of.id, to_column(now)};
    row.step_to_row();
    counted.expired += row.count(0);
    of.messages -= row.count(0);
    of.bytes -= row.count(1);
  }
  delete_ended_.run(of.id, to_column(now));
  of.next_end = wall_time::max();
  if (of.messages == 0) return;  // then there is no smallest
  statement::use row{next_end_, of.id};
  row.step_to_row();
  of.next_end = to_time(row.number(0));
}

std::size_t mailboxes::make_room(mailbox& in, std::uint64_t size, const offline_limits& limits) {
  const auto is_over_limit = [&] {
    return in.messages >= limits.max_messages ||
           (limits.max_bytes != 0 && in.bytes > limits.max_bytes - size);
  };
  std::size_t pushed_out = 0;
  stored_id last = 0;
  if (in.messages != 0 && is_over_limit()) {
    statement::use rows{oldest_, in.id};
    while (in.messages != 0 && is_over_limit() && rows.step()) {
      last = rows.count(0);
      in.bytes -= rows.count(1);
      --in.messages;
      ++pushed_out;
    }
  }
  if (pushed_out != 0) delete_oldest_.run(in.id, last);
  return pushed_out;
}

stored_id mailboxes::next_id() {
  statement::use row{next_id_};
  row.step_to_row();
  const auto id = row.count(0);
  row.step();  // to its end
  return id;
}

void mailboxes::save(const mailbox& which) {
  if (which.messages == 0) {
    remove_.run(which.id);
  } else {
    save_.run(which.messages, which.bytes, to_column(which.next_end), which.id);
  }
}

}  // namespace skein::detail::sqlite
