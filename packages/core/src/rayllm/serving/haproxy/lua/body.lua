-- What the gateway has to know of a request's body, read in place: the model that it names, where the name stands, whether
-- a stream is asked for, and what would make it tell its usage.
--
-- Guaranteed: for a body that is valid JSON, the name is what `json.loads` finds under "model", or the request is
-- refused. Of broken JSON only what is in the way is noticed: the rest is for the engine to refuse, whole as it is.
--
-- Why no JSON parser: it would make a table of everything. Here `string.find` jumps from quote to quote (memchr), so
-- that a long prompt costs what it costs to look for its end.

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local LONGEST <const> = 8192 -- bytes of what may be written anew
local AFFINITY <const> = 4096 -- bytes of a conversation's start
local AFFINITY_TEXT <const> = 1024 -- bytes of a prompt that is no conversation
local QUOTE <const>, OPEN_LIST <const>, OPEN_OBJECT <const>, CLOSE_OBJECT <const> = 34, 91, 123, 125
local FALSE <const>, NULL <const>, TRUE <const> = 102, 110, 116 -- the first letters of these
local closing, pair, decode, solid, member = rayllm.closing, rayllm.pair, rayllm.decode, rayllm.solid, rayllm.member
local BROKEN <const> = "the request body has to be JSON with the name of a model in \"model\": this is not valid JSON"
local MISSING <const> = "the request body names no model: \"model\" is missing"
local TWICE <const> = "the request body has \"model\" twice: which one is meant can't be told"
local NO_STRING <const> = "\"model\" has to be a string with the name of a model"
local EMPTY <const> = "\"model\" is empty: it has to be the name of a model"
local NO_NAME <const> = "\"model\" can't be the name of a model: it is too long, or no text"
local NO_FORM <const> = "the request body has to be multipart/form-data with a field \"model\": this one can't be read"

-- Keys of a body that matter here. A text is what an engine takes without the key, a number the most: anything else may
-- make an answer larger than a buffer.
local MANY <const> = 32768 -- tokens
local KEYS <const> = {
  model = true, stream = true, stream_options = true, messages = true, prompt = true, input = true, prompt_embeds = "",
  max_tokens = MANY, max_completion_tokens = MANY, max_output_tokens = MANY, min_tokens = "0", ignore_eos = "false",
  n = "1", best_of = "1", echo = "false", logprobs = "false", top_logprobs = "0", prompt_logprobs = "", include = "[]",
  return_token_ids = "false", return_hidden_states = "false",
}

-- A "no" as a text, as engines take it (pydantic does).
local NO <const> = { ["false"] = true, ["0"] = true, off = true, f = true, n = true, no = true, [""] = true }

-- Whether the value from `first` to `last` may be a yes. For engines that is more than `true`: 1, "on", "Yes", … So it is
-- what is not surely a no; what is neither they refuse themselves. A no that were longer than a buffer could not be edited.
local function is_yes(s, first, last)
  if last - first > LONGEST then
    return true
  end
  local text = sub(s, first, last)
  if byte(text) == QUOTE then
    return not NO[(decode(sub(text, 2, -2)) or "?"):lower()]
  end
  return text ~= "false" and text ~= "null" and tonumber(text) ~= 0
end

-- What the top level of a JSON object says. Returns the offset behind its opening bracket (nil and a message if it can't
-- be routed by), where the name's content begins and ends, whether this is a stream, whether its answer may be large, and
-- where the value of "stream_options", and the one of "messages", "prompt" or "input", begins and ends.
-- unnamed: whether the path names the model; then "model" is nobody's business here.
local function scan(s, unnamed)
  local c, p = solid(s, 1)
  if c == 0xEF and sub(s, 1, 3) == "\xEF\xBB\xBF" then
    c, p = solid(s, 4)
  end
  if c ~= OPEN_OBJECT then
    return nil, BROKEN
  end
  local start = p
  local first, last, stream, large, options, options_end, from, to
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
    end
    local usual = KEYS[key]
    if not usual then -- as with most
    elseif key == "model" then
      if first and not unnamed then
        return nil, TWICE
      elseif c ~= QUOTE and not unnamed then
        return nil, NO_STRING
      end
      first, last = p + 1, ends - 1
    elseif key == "stream" then
      stream = c == TRUE or c ~= FALSE and c ~= NULL and is_yes(s, p, ends)
    elseif key == "messages" or key == "input" then
      from, to = p, ends
    elseif usual == MANY then
      large = large or ends - p > 3 and (tonumber(sub(s, p, ends)) or 0) > MANY
    elseif key == "prompt" then
      from, to = p, ends
      large = large or c == OPEN_LIST -- each of its prompts has an answer
    elseif key == "stream_options" then
      options, options_end = p, ends
    else
      large = large or c ~= NULL and sub(s, p, ends) ~= usual
    end
    local mark
    mark, p = match(s, "^[ \n\r\t]*([,}])[ \n\r\t]*()", ends + 1)
    if mark == "}" then
      if p <= #s then
        return nil, BROKEN
      elseif not first and not unnamed then
        return nil, MISSING
      elseif not unnamed and last < first then
        return nil, EMPTY
      end
      return start, first, last, stream, large, options, options_end, from, to
    elseif not mark then
      return nil, BROKEN
    end
    c = byte(s, p)
  end
  return nil, BROKEN
end

-- The answer of the scanner for a name at the bytes `first` to `last`, see `json`.
local function answer(name, first, last, kind, ask)
  if not name or find(name, "\0", 1, true) then
    return "!:" .. NO_NAME
  end
  return first - 1 .. ":" .. last - first + 1 .. ":" .. kind .. ":" .. ask .. ":" .. name
end

-- What makes a stream tell its usage: `HOW-AT-LEN`, where what `filter.lua` has for HOW goes in place of LEN bytes at AT;
-- empty where the client asks for it itself. `start` is where the body's first key may stand, `first` to `last` are the
-- value of its "stream_options".
local function ask(s, start, first, last)
  if not first then
    return "options-" .. start .. "-0"
  elseif byte(s, first) ~= OPEN_OBJECT then
    return last - first > LONGEST and "" or "object-" .. first - 1 .. "-" .. last - first + 1
  end
  local from, to = member(s, first, "include_usage")
  if not from then
    return (match(s, "^[ \n\r\t]*}", first + 1) and "only-" or "member-") .. first .. "-0"
  end
  return is_yes(s, from, to) and "" or "yes-" .. from - 1 .. "-" .. to - from + 1
end

-- `AT:LEN:KIND:ASK:NAME` of a JSON body, or `!:MESSAGE` of what is wrong with it.
-- AT, LEN: where the name's string stands, without its quotes, in bytes from 0; these and NAME are empty if `unnamed`.
-- KIND: 1 if this is a stream, 2 if its answer may be larger than a buffer. ASK: of a stream, see `ask`.
local function json(s, unnamed)
  local start, first, last, stream, large, options, options_end, from, to = scan(s, unnamed)
  if not start then
    return "!:" .. first
  end
  local kind, asks = large and "2" or "", ""
  if stream then
    kind, asks = "1", ask(s, start, options, options_end)
  end
  if unnamed then
    return "::" .. kind .. ":" .. asks .. ":"
  end
  local name = last - first < LONGEST and decode(sub(s, first, last))
  return answer(name, first, last, kind, asks), from, to
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
      stream = not NO[sub(s, blank + 4, ends - 1):lower()]
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
  return answer(last - first < LONGEST and sub(s, first, last), first, last, stream and "1" or "", "")
end

core.register_converters("rayllm_json", function(s)
  local found = json(s)
  return found
end)
core.register_converters("rayllm_unnamed", function(s)
  return (json(s, true))
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
    local found, from, to
    if multipart then
      found = form(s, content_type)
    else
      found, from, to = json(s)
    end
    txn:set_var("txn.body", found)
    txn:set_var("txn.affinity", affinity(s, from, to))
  end
  collectgarbage()
end)
