-- What the gateway has to know of a request's body, read in place: the model that it names, and where the name stands.
--
-- Guaranteed: for a body that is valid JSON, the name is what `json.loads` finds under "model", or the request is
-- refused. Of broken JSON only what is in the way is noticed: the rest is for the engine to refuse, whole as it is.
--
-- Why no JSON parser: it would make a table of everything. Here `string.find` jumps from quote to quote (memchr), so
-- that a long prompt costs what it costs to look for its end.

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local FAR <const> = math.maxinteger
local LONGEST_NAME <const> = 8192
local AFFINITY <const> = 4096 -- bytes of a conversation's start
local AFFINITY_TEXT <const> = 1024 -- bytes of a prompt that is no conversation
local QUOTE <const>, BACKSLASH <const> = 34, 92
local OPEN_LIST <const>, OPEN_OBJECT <const>, CLOSE_OBJECT <const> = 91, 123, 125
local RUN <const> = string.rep("\\", 32)
local BROKEN <const> = "the request body has to be JSON with the name of a model in \"model\": this is not valid JSON"
local MISSING <const> = "the request body names no model: \"model\" is missing"
local TWICE <const> = "the request body has \"model\" twice: which one is meant can't be told"
local NO_STRING <const> = "\"model\" has to be a string with the name of a model"
local EMPTY <const> = "\"model\" is empty: it has to be the name of a model"
local NO_NAME <const> = "\"model\" can't be the name of a model: it is too long, or no text"
local NO_FORM <const> = "the request body has to be multipart/form-data with a field \"model\": this one can't be read"
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

-- What the top level of a JSON object says. Returns the offset behind its opening bracket (nil and a message if it can't
-- be routed by), where the name's content begins and ends, whether "stream" is true, whether there are "stream_options",
-- and where the value of "messages", "prompt" or "input" begins and ends.
local function scan(s)
  local c, p = solid(s, 1)
  if c == 0xEF and sub(s, 1, 3) == "\xEF\xBB\xBF" then
    c, p = solid(s, 4)
  end
  if c ~= OPEN_OBJECT then
    return nil, BROKEN
  end
  local start = p
  local first, last, stream, options, from, to
  c, p = solid(s, p + 1)
  if c == CLOSE_OBJECT then
    return nil, MISSING
  end
  while c == QUOTE do
    -- As few steps of Lua as can be: HAProxy counts each, which makes it three times as long.
    local key, at = match(s, '^"([^"\\]*)"[ \n\r\t]*:[ \n\r\t]*()', p)
    if not key then
      local q = closing(s, p + 1)
      key = q and decode(sub(s, p + 1, q - 1))
      at = q and match(s, "^[ \n\r\t]*:[ \n\r\t]*()", q + 1)
      if not at then
        return nil, BROKEN
      end
    end
    c, p = byte(s, at), at
    local ends
    if c == QUOTE then
      ends = closing(s, p + 1)
    elseif c == OPEN_LIST or c == OPEN_OBJECT then
      ends = pair(s, p)
    else
      ends = match(s, "^[%w+.-]+()", p)
      ends = ends and ends - 1
    end
    if not ends then
      return nil, BROKEN
    elseif key == "model" then
      if first then
        return nil, TWICE
      elseif c ~= QUOTE then
        return nil, NO_STRING
      end
      first, last = p + 1, ends - 1
    elseif key == "stream" then
      stream = ends - p == 3 and sub(s, p, ends) == "true"
    elseif key == "stream_options" then
      options = true
    elseif key == "messages" or key == "prompt" or key == "input" then
      from, to = p, ends
    end
    local mark
    mark, p = match(s, "^[ \n\r\t]*([,}])[ \n\r\t]*()", ends + 1)
    if mark == "}" then
      if p <= #s then
        return nil, BROKEN
      elseif not first then
        return nil, MISSING
      elseif last < first then
        return nil, EMPTY
      end
      return start, first, last, stream, options, from, to
    elseif not mark then
      return nil, BROKEN
    end
    c = byte(s, p)
  end
  return nil, BROKEN
end

-- The answer of the scanner for a name at the bytes `first` to `last`, see `json`.
local function answer(name, first, last, stream, usage_at)
  if not name or find(name, "\0", 1, true) then
    return "!:" .. NO_NAME
  end
  return first - 1 .. ":" .. last - first + 1 .. ":" .. (stream and "1" or "") .. ":" .. usage_at .. ":" .. name
end

-- `AT:LEN:STREAM:USAGE_AT:NAME` of a JSON body, or `!:MESSAGE` of what is wrong with it.
-- AT, LEN: where the name's string stands, without its quotes, in bytes from 0. STREAM: 1 if "stream" is true.
-- USAGE_AT: where "stream_options" may be inserted: if this is a stream that has none.
local function json(s)
  local start, first, last, stream, options, from, to = scan(s)
  if not start then
    return "!:" .. first
  end
  local name = last - first < LONGEST_NAME and decode(sub(s, first, last))
  return answer(name, first, last, stream, stream and from and not options and start or ""), from, to
end

-- What requests of one conversation have in common: the raw bytes from its start to the end of its first user's turn.
-- `first` and `last` are where its value stands.
local function affinity(s, first, last)
  if not first then
    return ""
  end
  local turn = match(s, "^%[[ \n\r\t]*(){", first)
  if not turn then
    return sub(s, first, math.min(last, first + AFFINITY_TEXT - 1))
  end
  local most = math.min(last, first + AFFINITY - 1)
  while turn do
    local ends = pair(s, turn)
    if not ends or ends > most then
      return sub(s, first, most)
    end
    local user = find(s, '"user"', turn, true)
    if not user or user < ends then
      return sub(s, first, user and ends or most)
    end
    turn = match(s, "^[ \n\r\t]*,[ \n\r\t]*(){", ends + 1)
  end
  return sub(s, first, most)
end

-- The parameters of a header's value, names in lower case; nil if they can't be read for certain.
local function parameters(value)
  local found, p = {}, match(value, "^[^;]*()")
  while p <= #value do
    local name, rest = match(value, "^;[ \t]*([%w_-]+)=()", p)
    if not name then
      return match(value, "^;?[ \t]*$", p) and found or nil
    end
    local text, after = match(value, '^"([^"\\]*)"[ \t]*()', rest)
    if not text then
      text, after = match(value, '^([^;" \t\\]*)[ \t]*()', rest)
    end
    name = name:lower()
    if found[name] then
      return nil
    end
    found[name], p = text, after
  end
  return found
end

-- The parameters of a part's content-disposition.
local function disposition(head)
  local value
  for name, text in head:gmatch("([^\r\n:]+):[ \t]*([^\r\n]*)") do
    if name:lower() == "content-disposition" then
      if value then
        return nil
      end
      value = text
    end
  end
  return value and parameters(value)
end

-- The same as `json`, of a multipart/form-data body with this content-type.
local function form(s, content_type)
  local boundary = (parameters(content_type) or {}).boundary
  if not boundary or boundary == "" then
    return "!:" .. NO_FORM
  end
  local line = "\r\n--" .. boundary
  if sub(s, 1, #line - 2) ~= sub(line, 3) then
    return "!:" .. NO_FORM
  end
  local first, last, stream
  local p = #line - 1
  while sub(s, p, p + 1) == "\r\n" do
    local blank = find(s, "\r\n\r\n", p, true)
    local ends = blank and find(s, line, blank + 2, true)
    local about = ends and disposition(sub(s, p + 2, blank + 1))
    if not about then
      return "!:" .. NO_FORM
    end
    if about.name == "model" then
      if first then
        return "!:" .. TWICE
      elseif about.filename then
        return "!:" .. NO_STRING
      end
      first, last = blank + 4, ends - 1
    elseif about.name == "stream" then
      stream = sub(s, blank + 4, ends - 1):lower() == "true"
    end
    p = ends + #line
  end
  if sub(s, p, p + 1) ~= "--" then
    return "!:" .. NO_FORM
  elseif not first then
    return "!:" .. MISSING
  elseif last < first then
    return "!:" .. EMPTY
  end
  return answer(last - first < LONGEST_NAME and sub(s, first, last), first, last, stream, "")
end

core.register_converters("rayllm_json", function(s)
  local found = json(s)
  return found
end)
core.register_converters("rayllm_affinity", function(s)
  local _, from, to = json(s)
  return affinity(s, from, to)
end)
core.register_fetches("rayllm_form", function(txn)
  return form(txn.f:req_body(), txn.f:req_hdr("content-type"))
end)

-- For the large-body process: all at once as `txn.body` and `txn.affinity`. An action may be interrupted, so that a
-- scan of 64 MiB does not keep others waiting; what it had in memory is given back at once.
core.register_action("rayllm_body", { "http-req" }, function(txn)
  local content_type = txn.f:req_hdr("content-type") or ""
  local multipart = content_type:lower():find("multipart/form-data", 1, true) == 1
  do
    local s = txn.f:req_body()
    local found, from, to = (multipart and form or json)(s, content_type)
    txn:set_var("txn.body", found)
    txn:set_var("txn.affinity", affinity(s, from, to))
  end
  collectgarbage()
end)
