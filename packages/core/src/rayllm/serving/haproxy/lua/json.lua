-- JSON read in place: where a value ends, what a string stands for. `body.lua` tells why this is no parser.

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local FAR <const> = math.maxinteger
local QUOTE <const>, BACKSLASH <const> = 34, 92
local OPEN_LIST <const>, OPEN_OBJECT <const> = 91, 123
local RUN <const> = string.rep("\\", 32)
local SIMPLE <const> = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- Whether the quote at `q` is escaped: an odd number of backslashes stands before it, none of them before `first`.
local function escaped(s, q, first)
  local b = q
  while b - 32 >= first and sub(s, b - 32, b - 1) == RUN do
    b = b - 32
  end
  while b > first and byte(s, b - 1) == BACKSLASH do
    b = b - 1
  end
  return (q - b) % 2 == 1
end

-- The closing quote of the string whose first byte is at `first`; nil if there is none.
local function closing(s, first)
  local q = find(s, '"', first, true)
  while q do
    local before, last = byte(s, q - 2, q - 1)
    if last ~= BACKSLASH or q == first then
      return q
    end
    if before == BACKSLASH and not escaped(s, q, first) then
      return q
    end
    q = find(s, '"', q + 1, true)
  end
end

-- The bracket that closes the one at `p`; nil if there is none. The other kind of brackets is in pairs between them,
-- else the JSON is broken.
local function pair(s, p)
  local open, close = "[", "]"
  if byte(s, p) == OPEN_OBJECT then
    open, close = "{", "}"
  end
  local depth = 1
  local opens = find(s, open, p + 1, true) or FAR
  local closes = find(s, close, p + 1, true)
  local q = find(s, '"', p + 1, true) or FAR
  while closes do
    if q < closes and q < opens then
      local last = find(s, '"', q + 1, true)
      if last and byte(s, last - 1) == BACKSLASH then
        last = closing(s, q + 1)
      end
      if not last then
        return nil
      end
      q = find(s, '"', last + 1, true) or FAR
      if opens < last then
        opens = find(s, open, last + 1, true) or FAR
      end
      if closes < last then
        closes = find(s, close, last + 1, true)
      end
    elseif opens < closes then
      depth = depth + 1
      opens = find(s, open, opens + 1, true) or FAR
    else
      depth = depth - 1
      if depth == 0 then
        return closes
      end
      closes = find(s, close, closes + 1, true)
    end
  end
end

-- The text that a JSON string's content stands for; nil if it is no valid one, or stands for no text.
local function decode(content)
  if not find(content, "[\\%c]") then
    return content
  end
  if find(content, "[\0-\31]") then
    return nil
  end
  local parts, p = {}, 1
  while true do
    local b = find(content, "\\", p, true)
    parts[#parts + 1] = sub(content, p, (b or 0) - 1)
    if not b then
      return table.concat(parts)
    end
    local kind = sub(content, b + 1, b + 1)
    p = b + 2
    if kind == "u" then
      local digits = match(content, "^%x%x%x%x", p)
      local code = digits and tonumber(digits, 16)
      p = p + 4
      if code and code >= 0xD800 and code < 0xDC00 then -- with the next one it is a single character
        local low = match(content, "^\\u([dD][c-fC-F]%x%x)", p)
        code = low and 0x10000 + (code - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00
        p = p + 6
      elseif code and code >= 0xDC00 and code < 0xE000 then
        code = nil
      end
      parts[#parts + 1] = code and utf8.char(code)
      if not code then
        return nil
      end
    elseif SIMPLE[kind] then
      parts[#parts + 1] = SIMPLE[kind]
    else
      return nil
    end
  end
end

-- The first byte from `p` on that is no white space, and its position.
local function solid(s, p)
  local c = byte(s, p)
  if c and c <= 32 then
    p = match(s, "^[ \n\r\t]*()", p)
    c = byte(s, p)
  end
  return c, p
end

-- Where the last member of this name stands in the object at `p`: the first and the last byte of its value; nil if there
-- is none. As for `json.loads`, the last one is meant.
local function member(s, p, name)
  local first, last, key
  local c
  c, p = solid(s, p + 1)
  while c == QUOTE do
    local q = closing(s, p + 1)
    key = q and decode(sub(s, p + 1, q - 1))
    c, p = solid(s, q and match(s, "^[ \n\r\t]*:()", q + 1) or FAR)
    local ends
    if c == QUOTE then
      ends = closing(s, p + 1)
    elseif c == OPEN_LIST or c == OPEN_OBJECT then
      ends = pair(s, p)
    elseif c then
      ends = match(s, "^[%w+.-]+()", p)
      ends = ends and ends - 1
    end
    if not ends then
      break
    elseif key == name then
      first, last = p, ends
    end
    c, p = solid(s, match(s, "^[ \n\r\t]*,()", ends + 1) or FAR)
  end
  return first, last
end

-- For the scripts that are loaded after this one, by the same thread.
rayllm = { closing = closing, pair = pair, decode = decode, solid = solid, member = member }
