-- What is changed in a request's body on its way to the engine, and what is read from the answer on its way back.
--
-- One class for both directions: each filter that is attached costs every stream two coroutines.
--
-- Request: `edits_of` makes a list of edits, `{ at, remove, insert }`: at the byte `at` of the body (from 0), `remove`
-- bytes give way to the text `insert`. They are in order and don't overlap. A body passes as it comes: nothing is
-- collected but the bytes of one edit. Without edits the body is not looked at.

local Filter = { id = "rayllm", flags = filter.FLT_CFG_FL_HTX }
Filter.__index = Filter

-- JSON strings and form fields alike: names of models need no escapes in either.
local function edits_of(txn)
  local name = txn:get_var("txn.rename")
  local body = name and txn:get_var("txn.body")
  local at, length = (body or ""):match("^(%d+):(%d+):")
  if not at then
    return nil
  end
  return { { at = tonumber(at), remove = tonumber(length), insert = name } }
end

function Filter:new()
  return setmetatable({}, Filter)
end

function Filter:http_headers(txn, message)
  if message:is_resp() then
    return
  end
  local edits = edits_of(txn)
  if not edits then
    return
  end
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

core.register_filter("rayllm", Filter, function(class)
  return class
end)
