-- Asks orthanc_plugins/ingest.py about every instance, before it is stored or compared with what is
-- there. Lua, because only it is told the called AE title and the address; this one function, because
-- Orthanc 1.12.7 takes the answer of ReceivedCStoreInstanceFilter the wrong way round (0 discards the
-- instance and acknowledges it). A DIMSE refusal passes here and gets its status from the C-STORE
-- filter in Python, on this same thread. "stored": another file was stored in its place, so this one is
-- let go, which the sender is told as success. Everything but these two is an error: nothing is stored.
--
-- The first question holds what every instance is asked for, in the order of Question in ingest.py, and
-- is short because all associations wait for it; only "describe" makes the whole one worth its price.
local function text(value) return type(value) == 'string' and value or '' end

function ReceivedInstanceFilter(dicom, origin, info)
  local answer = RestApiPost('/argonath/admit', table.concat({
    text(origin.RequestOrigin), text(origin.RemoteAet), text(origin.CalledAet), text(origin.RemoteIp),
    text(dicom.StudyInstanceUID), text(dicom.SeriesInstanceUID), text(dicom.SOPInstanceUID),
    text(dicom.PatientID) }, '\0'), false)
  if answer == 'describe' then
    answer = RestApiPost('/argonath/admit', DumpJson({
      RequestOrigin = origin.RequestOrigin,
      RemoteAet = origin.RemoteAet,
      CalledAet = origin.CalledAet,
      RemoteIp = origin.RemoteIp,
      PatientID = dicom.PatientID,
      PatientName = dicom.PatientName,
      StudyInstanceUID = dicom.StudyInstanceUID,
      SeriesInstanceUID = dicom.SeriesInstanceUID,
      SOPInstanceUID = dicom.SOPInstanceUID,
      StudyDate = dicom.StudyDate,
      StudyDescription = dicom.StudyDescription,
      AccessionNumber = dicom.AccessionNumber,
      Modality = dicom.Modality,
    }, true), false)
  end
  if answer == 'stored' then
    return false
  end
  if answer ~= 'proceed' then
    error('refused by the gateway')
  end
  return true
end

-- Orthanc's start, stop and deletions, by Lua too: a Python OnChange callback would be called about
-- four times for every instance that is stored, and costs more than its admission.
local function tell(what)
  RestApiPost('/argonath/event', what, false)
end
function Initialize() tell('started') end
function Finalize() tell('stopped') end
function OnDeletedStudy(id) tell('deleted-study ' .. id) end
function OnDeletedSeries(id) tell('deleted-series ' .. id) end
