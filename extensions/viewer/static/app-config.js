// OHIF's configuration (https://docs.ohif.org/configuration/configurationfiles): one data source, this gateway,
// which knows the person by the session's cookie.
'use strict';

window.PUBLIC_URL = '/viewer/';
window.browserImportFunction = name => import(name);

const signInAgain = () => {
  const here = window.location.pathname + window.location.search;
  window.location.assign('/sign-in?next=' + encodeURIComponent(here));
};

window.config = {
  name: 'argonath',
  routerBasename: '/viewer',
  extensions: [],
  modes: [],
  customizationService: [{ 'ohif.tours': { $set: [] } }], // a tour over the first image would hide it
  showStudyList: true,
  showLoadingIndicator: true,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showErrorDetails: 'dev',
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  maxNumberOfWebWorkers: 3,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  investigationalUseDialog: { option: 'configure', days: 30 },
  whiteLabeling: {
    createLogoComponentFn: React =>
      React.createElement('a', { href: '/studies', className: 'text-primary', title: 'Back to the portal' }, 'Argonath'),
  },
  defaultDataSourceName: 'argonath',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'argonath',
      configuration: {
        friendlyName: 'Argonath',
        name: 'argonath',
        qidoRoot: window.location.origin + '/dicom-web',
        wadoRoot: window.location.origin + '/dicom-web',
        wadoUriRoot: window.location.origin + '/wado',
        qidoSupportsIncludeField: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors', // in the browser, which knows codecs that the archive does not
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
  httpErrorHandler: error => {
    if (error.status === 401) {
      signInAgain();
    }
  },
};
