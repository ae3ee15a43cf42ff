#pragma once

// What a client's bytes mean, read a third time: plainly, all of them at once, with zlib's own inflate, and
// with nothing that the engines use. Where the two engines differ, this says who is right.

#include "engine_runs.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace engine_runs {

/// Why a conversation had to fail.
enum class fault : std::uint8_t {
  none,
  header,           ///< a frame that breaks a rule
  length,           ///< of 2^63 bytes or more
  too_big,          ///< declared; of a compressed message what is inflated
  too_long,         ///< a compressed message, as it came
  too_many_frames,  //
  text,             ///< not UTF-8
  close_text,       ///< of a close frame
  deflated,         ///< does not inflate
  too_far_back,     ///< the same, since it refers to what is not in this message
  cut,              ///< inflates, but does not end
};

/// A data message that has begun.
struct sent_message {
  bool text = false;
  bool compressed = false;
  bool empty = true;         ///< no byte of it has come
  bool final_block = false;  ///< RFC 7692 section 7.2.3.4: a stream ended in it
  bool whole = false;        ///< its last block ends without the four bytes that a sender leaves out
};

/// What an engine that is right makes of the bytes.
struct reading {
  events log;
  fault why = fault::none;
  bool of_data = false;     ///< the fault is in the data of the last message
  bool under_rsv1 = false;  ///< the fault is in a data frame with RSV1
  std::vector<sent_message> messages{};
};

namespace reading_plainly {

/// Whether this is UTF-8, or if it is not whole can become it.
inline bool may_be_utf8(std::string_view text, bool whole) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    if (lead >= 0x80 && (lead < 0xc2 || lead > 0xf4)) return false;
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    for (std::size_t k = 1; k <= more; ++k) {
      if (i + k == text.size()) return !whole;
      const unsigned low = k > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
      const unsigned high = k > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
      if (byte(i + k) < low || byte(i + k) > high) return false;
    }
    i += more + 1;
  }
  return true;
}

/// Inflates one message.
class inflation {
 public:
  explicit inflation(std::size_t limit) : limit_(limit) {
    if (inflateInit2(&stream_, -15) != Z_OK) throw std::bad_alloc{};
  }
  inflation(const inflation&) = delete;
  inflation& operator=(const inflation&) = delete;
  ~inflation() { inflateEnd(&stream_); }

  void take(std::string_view piece) {
    if (piece.empty() || broken_ || too_big()) return;
    begun_ = true;
    give(stream_, piece);
    std::array<char, 512> room{};
    do {
      if (ended_) inflateReset(&stream_);
      ended_ = false;
      stream_.next_out = reinterpret_cast<Bytef*>(room.data());
      stream_.avail_out = room.size();
      const auto status = ::inflate(&stream_, Z_SYNC_FLUSH);
      made_.append(room.data(), room.size() - stream_.avail_out);
      ended_ = status == Z_STREAM_END;
      final_block_ = final_block_ || ended_;
      broken_ = !ended_ && status != Z_OK && status != Z_BUF_ERROR;
    } while (!broken_ && !too_big() && (stream_.avail_in != 0 || (stream_.avail_out == 0 && !ended_)));
  }

  /// RFC 7692 section 7.2.2: with what the sender left out. True if the stream is at its end then, or was.
  bool finish() {
    if (!begun_ || ended_) return true;
    whole_ = could_end();
    if (whole_) return true;
    take({"\x00\x00\xff\xff", 4});
    return could_end();
  }

  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] bool too_far_back() const {
    return broken_ && stream_.msg != nullptr && std::string_view{stream_.msg}.ends_with("too far back");
  }
  [[nodiscard]] bool too_big() const { return limit_ != 0 && made_.size() > limit_; }
  [[nodiscard]] bool final_block() const { return final_block_; }
  [[nodiscard]] bool whole() const { return whole_; }
  /// Past the limit one byte, as proof.
  [[nodiscard]] std::string_view made() const {
    return too_big() ? std::string_view{made_}.substr(0, limit_ + 1) : made_;
  }

 private:
  static void give(z_stream& to, std::string_view bytes) {
    to.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    to.avail_in = static_cast<uInt>(bytes.size());
  }

  /// Between two blocks, at a byte's boundary: nowhere else does a last, empty block end the stream at once.
  bool could_end() {
    z_stream copy{};
    if (broken_ || inflateCopy(&copy, &stream_) != Z_OK) return false;
    give(copy, {"\x01\x00\x00\xff\xff", 5});
    std::array<Bytef, 16> room{};
    copy.next_out = room.data();
    copy.avail_out = room.size();
    const auto status = ::inflate(&copy, Z_SYNC_FLUSH);
    const bool at_once = status == Z_STREAM_END && copy.avail_in == 0 && copy.avail_out == room.size();
    inflateEnd(&copy);
    return at_once;
  }

  z_stream stream_{};
  std::size_t limit_;
  std::string made_;
  bool begun_ = false, ended_ = false, broken_ = false, final_block_ = false;
  bool whole_ = false;
};

class reader {
 public:
  explicit reader(const engine_options& options) : options_(options) {}

  reading read(std::string_view bytes) {
    rest_ = bytes;
    while (!over_ && read_frame()) {
    }
    return std::move(result_);
  }

 private:
  /// False if there is not all of it.
  bool read_frame() {
    if (rest_.empty() || !first_byte(byte(0)) || rest_.size() < 2) return false;
    const bool control = (byte(0) & 8U) != 0;
    const auto op = byte(0) & 15U;
    const auto short_length = byte(1) & 127U;
    if ((byte(1) & 128U) == 0) return fail(fault::header, 1002);
    if (control && (short_length > 125 || (op == 8 && short_length == 1))) return fail(fault::header, 1002);
    const std::size_t wide = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    const bool compressed = in_message_ ? last().compressed : (byte(0) & 64U) != 0;
    if (wide == 8 && rest_.size() > 2 && (byte(2) & 128U) != 0)
      return fail(fault::length, 1002, compressed && (in_message_ || begin(op, true)));
    if (rest_.size() < 2 + wide) return false;
    std::uint64_t length = wide == 0 ? short_length : 0;
    for (std::size_t i = 0; i < wide; ++i) length = length * 256 + byte(2 + i);
    if ((wide == 2 && length < 126) || (wide == 8 && length < 65'536)) return fail(fault::header, 1002);
    if (!control && !fits(length, compressed)) {
      if (compressed) return fail(fault::too_long, 1009, in_message_ || begin(op, true));
      return fail(fault::too_big, 1009);
    }
    if (rest_.size() < 6 + wide) return false;

    const bool fin = (byte(0) & 128U) != 0;
    const auto key = rest_.substr(2 + wide, 4);
    rest_.remove_prefix(6 + wide);
    const bool whole = length <= rest_.size();
    std::string payload{rest_.substr(0, whole ? static_cast<std::size_t>(length) : rest_.size())};
    rest_.remove_prefix(payload.size());
    for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ key[i % 4]);
    if (control) return read_control(op, payload, whole) && whole;
    if (!in_message_) begin(op, compressed);
    ++frames_;
    declared_ += length;
    last().empty = last().empty && payload.empty();
    return read_data(payload, whole, whole && fin) && whole;
  }

  bool first_byte(unsigned first) {
    const auto op = first & 15U;
    const auto rsv = first >> 4U & 7U;
    if (op >= 8) return (op <= 10 && first >= 128 && rsv == 0) || fail(fault::header, 1002);
    const auto most = options_.max_message_frames;
    if (most != 0 && frames_ >= most) return fail(fault::too_many_frames, 1008);
    const bool rsv_right = rsv == 0 || (rsv == 4 && options_.compression && op != 0);
    return (op <= 2 && (op == 0) == in_message_ && rsv_right) || fail(fault::header, 1002);
  }

  [[nodiscard]] bool fits(std::uint64_t length, bool compressed) const {
    const std::uint64_t limit = options_.max_message_bytes;
    const auto most = compressed ? 2 * limit + 1024 : limit;
    return limit == 0 || (length <= most && declared_ + length <= most);
  }

  bool begin(unsigned op, bool compressed) {
    in_message_ = true;
    result_.messages.push_back({op == 1, compressed});
    plain_.clear();
    inflated_.reset();
    if (compressed) inflated_.emplace(options_.max_message_bytes);
    return true;
  }

  bool read_data(std::string_view payload, bool frame_is_whole, bool ends) {
    if (payload.empty() && !frame_is_whole) return true;
    if (!last().compressed) {
      plain_ += payload;
      if (last().text && !may_be_utf8(plain_, ends)) return fail(fault::text, 1007);
      if (ends) deliver(plain_);
      return true;
    }
    auto& inflated = *inflated_;
    inflated.take(payload);
    if (!judge_inflated(false)) return false;
    if (!ends) return true;
    const bool at_end = inflated.finish();
    last().whole = inflated.whole();
    if (!judge_inflated(false)) return false;
    if (!at_end) return fail(fault::cut, 1007, true);
    if (!judge_inflated(true)) return false;
    deliver(std::string{inflated.made()});
    return true;
  }

  bool judge_inflated(bool whole) {
    last().final_block = inflated_->final_block();
    if (last().text && !may_be_utf8(inflated_->made(), whole)) return fail(fault::text, 1007, true);
    if (inflated_->too_big()) return fail(fault::too_big, 1009, true);
    if (inflated_->too_far_back()) return fail(fault::too_far_back, 1007, true);
    return !inflated_->broken() || fail(fault::deflated, 1007, true);
  }

  void deliver(std::string payload) {
    result_.log.push_back(got(last().text ? 1 : 2, std::move(payload)));
    in_message_ = false;
    frames_ = 0;
    declared_ = 0;
  }

  bool read_control(unsigned op, const std::string& payload, bool whole) {
    if (op == 9 && whole) {
      result_.log.push_back({event::kind::ping});
      result_.log.push_back(
          {event::kind::control, 0, "\x8a" + std::string{static_cast<char>(payload.size())} + payload});
    } else if (op == 10 && whole) {
      result_.log.push_back(got_pong(payload));
    } else if (op == 8) {
      return read_close(payload, whole);
    }
    return true;
  }

  bool read_close(std::string_view payload, bool whole) {
    unsigned code = 0;
    std::string_view text;
    if (payload.size() >= 2) {
      code = static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
      const bool known = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
      if (!known && (code < 3000 || code > 4999)) return fail(fault::header, 1002);
      text = payload.substr(2);
      if (!may_be_utf8(text, whole)) return fail(fault::close_text, 1007);
    }
    if (!whole) return true;
    result_.log.push_back(closed(code, std::string{text}));
    over_ = true;
    return true;
  }

  bool fail(fault why, unsigned code, bool of_data = false) {
    result_.log.push_back(failed(code));
    result_.why = why;
    result_.of_data = of_data;
    result_.under_rsv1 = !rest_.empty() && (byte(0) & 0x48U) == 0x40;
    over_ = true;
    return false;
  }

  [[nodiscard]] unsigned byte(std::size_t i) const { return static_cast<unsigned char>(rest_[i]); }
  [[nodiscard]] sent_message& last() { return result_.messages.back(); }

  engine_options options_;
  std::string_view rest_;
  reading result_;
  std::string plain_;  // of an uncompressed message, so far
  std::optional<inflation> inflated_;
  std::uint64_t declared_ = 0;  // of the message
  std::size_t frames_ = 0;
  bool in_message_ = false;
  bool over_ = false;
};

}  // namespace reading_plainly

/// With compression the options must say that it was agreed on.
inline reading read_plainly(std::string_view bytes, const engine_options& options) {
  return reading_plainly::reader{options}.read(bytes);
}

}  // namespace engine_runs
