-- What is changed in a request's body on its way to the engine, and what is read from the answer on its way back.
--
-- One class for both directions: each filter that is attached costs every stream two coroutines, and each of its calls
-- a dozen of tables. So it is attached only to what it was called for (`rayllm_watch`, in front of `use_backend`).
--
-- Request: `edits_of` makes a list of edits, `{ at, remove, insert }`: at the byte `at` of the body (from 0), `remove`
-- bytes give way to the text `insert`. They are in order and don't overlap. A body passes as it comes: nothing is
-- collected but the bytes of one edit. Without edits the body is not looked at.

local Filter = { id = "rayllm", flags = filter.FLT_CFG_FL_HTX }
Filter.__index = Filter

local watch = false -- whether the request that is about to get its backend, on this thread, needs the filter

-- An OpenAI stream is asked for its usage where the client did not. `ask` in `body.lua` tells which of these goes where.
local ASKED <const> = "/completions"
local ASK <const> = {
  options = '"stream_options":{"include_usage":true},', -- there are none: the body's first member
  object = '{"include_usage":true}', -- they are none, `null` for example
  only = '"include_usage":true', -- there is nothing in them
  member = '"include_usage":true,', -- it is not in them: their first member
  yes = "true", -- it is a no
}

-- The edits, and whether one of them asks for usage. A name goes into JSON strings and form fields alike: names of models
-- need no escapes in either.
local function edits_of(txn)
  local body = txn:get_var("txn.body") or ""
  local at, length, how, ask_at, ask_length = body:match("^(%d*):(%d*):%d?:(%a*)%-?(%d*)%-?(%d*):")
  if not at then
    return {}
  end
  local edits = {}
  if how ~= "" and txn.sf:path():sub(-#ASKED) == ASKED then
    edits[1] = { at = tonumber(ask_at), remove = tonumber(ask_length), insert = ASK[how] }
  end
  local asks = edits[1] ~= nil
  local name = at ~= "" and txn:get_var("txn.rename")
  if name then
    local edit = { at = tonumber(at), remove = tonumber(length), insert = name }
    table.insert(edits, asks and edit.at > edits[1].at and 2 or 1, edit)
  end
  return edits, asks
end

function Filter:new()
  local mine = watch
  watch = false
  return mine and setmetatable({}, Filter) or nil
end

function Filter:http_headers(txn, message)
  if message:is_resp() then
    self.usage = rayllm.Usage.of(message, txn.f:status(), self.asked, self.asks)
    if self.usage then
      filter.register_data_filter(self, message.channel)
    end
    return
  end
  self.asked = rayllm.now()
  local edits, asks = edits_of(txn)
  if not edits[1] then
    return
  end
  self.asks = asks
  local more = 0
  for _, edit in ipairs(edits) do
    more = more + #edit.insert - edit.remove
  end
  local length = message:get_headers()["content-length"]
  if length then -- else it comes in chunks
    message:set_header("content-length", tostring(math.tointeger(length[0]) + more))
  end
  self.edits, self.next, self.passed = edits, 1, 0
  filter.register_data_filter(self, message.channel)
end

-- Called with what has come and not been passed on; returns how much of it may go.
function Filter:http_payload(_, message)
  if message:is_resp() then
    return self.usage:payload(message)
  end
  local come, more = message:input(), 0
  while self.edits[self.next] do
    local edit = self.edits[self.next]
    local place = edit.at - self.passed
    if place >= come then
      break -- not here yet
    end
    if place + edit.remove > come or message:insert(edit.insert, place + more + edit.remove) < 0 then
      self.passed = edit.at
      return place + more -- what is before it goes; the rest comes again, with what follows
    end
    if edit.remove > 0 then
      message:remove(place + more, edit.remove)
    end
    more = more + #edit.insert - edit.remove
    self.next = self.next + 1
  end
  self.passed = self.passed + come
  if not self.edits[self.next] then
    filter.unregister_data_filter(self, message.channel)
  end
  return come + more
end

-- Also where an answer was cut, and then the log's line is still to come.
function Filter:end_analyze(txn, channel)
  local usage = channel:is_resp() and self.usage and self.usage:json()
  if usage then
    txn:set_var("txn.usage", usage)
  end
end

core.register_converters("rayllm_watch", function(value)
  watch = true
  return value
end)

core.register_filter("rayllm", Filter, function(class)
  return class
end)
