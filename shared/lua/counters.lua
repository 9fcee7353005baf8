-- Counters are two numbers in MessagePack, which Lua reads and writes much faster than text: the number of the minute,
-- day or month (of UTC, year * 12 + month - 1) that they count, 0 if they never start anew, and what has been used and
-- reserved in it. A period that is over counts as zero; one that has not begun yet (the clock went back) holds until it
-- is over. Numbers go up to 2^53.
local MOST = 9007199254740992

-- Days since 1970 as the number of their month, and the days that are left of it, this one included.
-- The calendar begins in March, so that the leap day is the last of the year (Howard Hinnant, chrono algorithms).
local function month_of(days)
  local floor = math.floor
  local day = (days + 719468) % 146097
  local era = (days + 719468 - day) / 146097
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  day = day - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * day + 2) / 153)
  day = day - floor((153 * month + 2) / 5)
  year, month = year + era * 400, month + 3
  if month > 12 then
    year, month = year + 1, month - 12
  end
  local length = 30 + (month + floor(month / 8)) % 2
  if month == 2 then
    length = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) and 29 or 28
  end
  return year * 12 + month - 1, length - day
end

-- The period of a window (now in microseconds) and the milliseconds until the next; nil: never.
local function period_of(window, now)
  if window == 'life' then
    return 0
  end
  local length = window == 'minute' and 60000000 or 86400000000
  local passed = now % length
  local period, rest = (now - passed) / length, length - passed
  if window == 'month' then
    local left
    period, left = month_of(period)
    rest = rest + (left - 1) * length
  end
  return period, math.ceil(rest / 1000)
end

-- What a counter (false: none) says of a period: the period that holds, and what has been used in it.
local function read_counter(counter, period)
  if counter then
    local written, used = cmsgpack.unpack(counter)
    if written >= period then
      return written, used
    end
  end
  return period, 0
end

local function write_counter(period, used)
  return cmsgpack.pack(period, used < 0 and 0 or used < MOST and used or MOST)
end
