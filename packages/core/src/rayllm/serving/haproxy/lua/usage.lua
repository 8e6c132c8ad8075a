-- Tokens, as the engine reports them in its answer, and when the parts of a stream came: the variable `txn.usage`, JSON
-- for the access log.
--
-- Quotes within a JSON string are escaped, so `"usage":` stands in an answer as a key only: nothing has to be parsed.

local find, match, sub = string.find, string.match, string.sub
local NEAR <const> = 1024 -- bytes that hold all of a usage
local LONGEST_EVENT <const> = 65536 -- a longer one is passed on in parts, as it comes

-- Short-lived tables and strings are all that is made here.
collectgarbage("generational")

-- The larger of two numbers that are there; one of ten digits or more counts no tokens.
local function larger(a, b)
  if not a or #a > 9 then
    return b
  end
  return b and tonumber(b) > tonumber(a) and b or a
end

-- What the objects `usage` of a text say, in any of the APIs' words. Of several the largest number counts: what a client
-- sent may stand in an answer, too (the tools of its request), and must not make it cheaper.
local function counts(s)
  local prompt, completion, cached
  local at = find(s, 'usage":', 1, true)
  while at do
    local u = sub(s, at, at + NEAR)
    prompt = larger(match(u, '"prompt_tokens": ?(%d+)') or match(u, '"input_tokens": ?(%d+)'), prompt)
    completion = larger(match(u, '"completion_tokens": ?(%d+)') or match(u, '"output_tokens": ?(%d+)'), completion)
    cached = larger(match(u, '"cached_tokens": ?(%d+)') or match(u, '"cache_read_input_tokens": ?(%d+)'), cached)
    at = find(s, 'usage":', at + 1, true)
  end
  return prompt, completion, cached
end

local function json(prompt, completion, cached, estimated, more)
  return '{"prompt_tokens":' .. (prompt or 0) .. ',"completion_tokens":' .. (completion or 0)
    .. (cached and ',"cached_tokens":' .. cached or "") .. (estimated and ',"estimated":true' or "") .. (more or "") .. "}"
end

-- A whole JSON answer; `null` if it has no usage.
local function of_answer(s)
  local prompt, completion, cached = counts(s)
  return (prompt or completion) and json(prompt, completion, cached) or "null"
end

-- Microseconds on a clock that all of HAProxy's requests share.
local function now()
  local time = core.now()
  return time.sec * 1000000 + time.usec
end

local Usage = {}
Usage.__index = Usage

-- Takes a look at the head of an answer; nil if its body is not for us.
-- asked: when the request was passed on. strip: whether the client did not ask for usage, we did.
function Usage.of(message, status, asked, strip)
  local headers = message:get_headers()
  local kind = headers["content-type"] and headers["content-type"][0] or ""
  if status ~= 200 or headers["content-encoding"] then
    return nil
  elseif find(kind, "text/event-stream", 1, true) == 1 then
    return setmetatable({ asked = asked, strip = strip, events = 0 }, Usage)
  elseif find(kind, "application/json", 1, true) == 1 then
    return setmetatable({ tail = "" }, Usage)
  end
end

-- Called with what has come and not been passed on; returns how much of it may go, nothing for all: the end of a message
-- may count as a byte that is not in its text.
function Usage:payload(message)
  local s = message:body(0)
  if not s or s == "" then
    return
  elseif self.tail then
    return self:piece(s)
  end
  self.first = self.first or now()
  local ends = find(s, "\n\n", 1, true)
  if ends == #s - 1 and not self.part and not find(s, 'usage":', 1, true) then -- one event, as it mostly is
    self.events = self.events + 1
    return
  end
  return self:several(message, s)
end

-- Of a JSON answer: its usage may stand anywhere (vLLM writes a prompt's `logprobs` behind it) and be cut in two.
function Usage:piece(s)
  local seam = self.tail .. sub(s, 1, NEAR)
  self:learn(counts(seam))
  if #s > NEAR then
    self:learn(counts(s))
    seam = s
  end
  self.tail = sub(seam, -NEAR)
end

-- Keep the largest of each number.
function Usage:learn(prompt, completion, cached)
  self.prompt = larger(prompt, self.prompt)
  self.completion = larger(completion, self.completion)
  self.cached = larger(cached, self.cached)
end

-- The same for several events, a part of one, or one with usage. In what is stripped a part waits for its end.
function Usage:several(message, s)
  local gap, length, p, removed = "\n\n", 2, 1, 0
  if self.part then
    s, self.part = self.part .. s, nil
  end
  if find(s, "\r\n\r\n", 1, true) then
    gap, length = "\r\n\r\n", 4
  end
  local q = find(s, gap, p, true)
  while q do
    local after = q + length
    if self:event(sub(s, p, q - 1)) and self.strip and message:remove(p - 1 - removed, after - p) == after - p then
      removed = removed + after - p
    end
    p = after
    q = find(s, gap, p, true)
  end
  local rest = #s - p + 1
  if rest == 0 then
    return
  elseif not self.strip then
    self.part = sub(sub(s, p), -LONGEST_EVENT)
  elseif rest > LONGEST_EVENT or message:eom() or not message.channel:may_recv() then
    self.strip = false
  else
    return p - 1 - removed
  end
end

-- Count one event; true if it has nothing but usage.
function Usage:event(s)
  self.events = self.events + 1
  local prompt, completion, cached = counts(s)
  if not prompt and not completion then
    return false
  end
  self:learn(prompt, completion, cached)
  return find(s, '"choices": ?%[%]') ~= nil
end

-- What is known when the answer is over, or was cut.
function Usage:json()
  if self.tail and (self.prompt or self.completion) then
    return json(self.prompt, self.completion, self.cached)
  elseif not self.first then
    return nil
  end
  local more = ',"events":' .. self.events .. ',"first_us":' .. self.first - self.asked
    .. ',"stream_us":' .. now() - self.first
  local estimated = not self.completion
  return json(self.prompt, self.completion or self.events, self.cached, estimated, more)
end

core.register_converters("rayllm_usage", of_answer)

-- For the filter, which is loaded after this file by the same thread.
rayllm.Usage, rayllm.now = Usage, now
