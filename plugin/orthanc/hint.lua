-- Tells the QFAE node at once that something arrived, so that it need not wait for its next poll.
-- In orthanc.json: "LuaScripts" : [ "/path/to/hint.lua" ]
-- Orthanc waits for each answer; the node gives it before it does anything.

local url = os.getenv('QFAE_HINT_URL') or 'http://127.0.0.1:8780/hooks/orthanc'
local token = os.getenv('QFAE_HINT_TOKEN') -- of role sender, where the node asks for one
local last = 0

local function hint()
  last = os.time()
  -- An empty table of headers would end Orthanc.
  if token then
    HttpPost(url, '', { Authorization = 'Bearer ' .. token })
  else
    HttpPost(url, '')
  end
end

-- Once a second at most while a study comes in.
function OnStoredInstance(instanceId, tags, metadata, origin)
  if os.time() > last then
    hint()
  end
end

function OnStableStudy(studyId, tags, metadata)
  hint()
end
